r"""Reads the files of `sql/` the way psql does, so that one set of files serves a DBA and the services.

Only what those files use: `\set name 'value'` lines, `:name` variables and `:'name'`, the value as a literal.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from crmbot_core.errors import ConfigurationError

_SET = re.compile(r"^\\set (\w+) '(.*)'$", re.MULTILINE)
_VARIABLE = re.compile(r"(?<!:):(?:([a-z]\w*)|'([a-z]\w*)')")


def variables(path: Path) -> dict[str, str]:
    r"""Return what the file's `\set` lines define."""
    return dict(_SET.findall(_read(path)))


def script(path: Path, values: Mapping[str, str]) -> str:
    """Return the file with its variables replaced.

    Raises:
        ConfigurationError: if the file is missing or uses a variable that has no value.
    """
    text = re.sub(r"--.*", "", _read(path))
    missing = {bare or quoted for bare, quoted in _VARIABLE.findall(text)} - values.keys()
    if missing:
        raise ConfigurationError(f"{path} needs the variables {', '.join(sorted(missing))}")
    return _VARIABLE.sub(lambda match: values[match[1]] if match[1] else _literal(values[match[2]]), text)


def _literal(value: str) -> str:
    quoted = "'" + value.replace("'", "''").replace("\\", "\\\\") + "'"
    return f" E{quoted}" if "\\" in value else quoted


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; set SQL_DIR to the sql folder") from error
