r"""Reads the files of `sql/` like psql, so that a DBA and the services use the same files.

Supports only what those files use: `\set name 'value'` lines, `:name` variables, and `:'name'` as a literal.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from crmbot_core.errors import ConfigurationError

_SET = re.compile(r"^\\set (\w+) '(.*)'$", re.MULTILINE)
# Variables, comments, and text in which psql replaces nothing: literals, quoted names, dollar quotes, casts.
_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<verbatim>
        [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | (?P<tag>\$\w*\$).*?(?P=tag) | ::
      )
    | :(?: (?P<bare>[a-z]\w*) | '(?P<quoted>[a-z]\w*)' )
    """,
    re.VERBOSE | re.DOTALL,
)


def variables(path: Path) -> dict[str, str]:
    r"""Return the variables that the file's `\set` lines define."""
    return dict(_SET.findall(_read(path)))


def checksum(path: Path) -> str:
    """Return the SHA-256 of what the file does: comments and white space don't count."""
    code = _TOKEN.sub(lambda token: "" if token["comment"] else token[0], _read(path))
    return sha256(" ".join(code.split()).encode()).hexdigest()


def script(path: Path, values: Mapping[str, str]) -> str:
    """Return the file with its variables replaced and without its comments.

    Raises:
        ConfigurationError: the file is missing or uses a variable without a value.
    """
    text = _read(path)
    used = {token["bare"] or token["quoted"] for token in _TOKEN.finditer(text)} - {None}
    if missing := used - values.keys():
        raise ConfigurationError(f"{path} needs the variables {', '.join(sorted(missing))}")
    return _TOKEN.sub(lambda token: _replacement(token, values), text)


def _replacement(token: re.Match[str], values: Mapping[str, str]) -> str:
    if token["bare"]:
        return values[token["bare"]]
    if token["quoted"]:
        return _literal(values[token["quoted"]])
    return token["verbatim"] or ""


def _literal(value: str) -> str:
    quoted = "'" + value.replace("'", "''").replace("\\", "\\\\") + "'"
    return f" E{quoted}" if "\\" in value else quoted


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; set SQL_DIR to the sql folder") from error
