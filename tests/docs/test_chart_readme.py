"""The chart's README documents every value of values.yaml, and no others."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "crm-bot"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
# Values that each service or component has, documented in one row for all.
SHARED = re.compile(
    r"(generator|producer|consumer|exporter)\.(image|env|resources)|(bot|consumer|exporter)\.pod"
)


def leaves(values: dict[str, Any], before: str = "") -> Iterator[str]:
    """Yield the paths of values: consumer.autoscaling.enabled."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{before}{name}.")
        else:
            yield before + name


def documented() -> set[str]:
    """Return the paths in the table's first column; `.tag` after `image.registry` is image.tag."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| value | meaning |") :]
    found = set()
    for cell in re.findall(r"^\| (`.*?`) \|", table[: table.index("\n\n")], re.MULTILINE):
        parent = ""
        for name in re.findall(r"`([^`]+)`", cell):
            path = parent + name[1:] if name.startswith(".") else name
            parent = path.rpartition(".")[0] + "." if not name.startswith(".") else parent
            found.add(path.removesuffix(".*"))
    return found


def test_every_value_is_in_the_readme() -> None:
    named = documented()
    missing = [
        path
        for path in leaves(VALUES)
        if not SHARED.match(path) and not any(f"{path}.".startswith(f"{name}.") for name in named)
    ]
    assert missing == []


def test_the_readme_has_only_existing_values() -> None:
    known = {".".join(path.split(".")[:depth]) for path in leaves(VALUES) for depth in range(1, 6)}
    assert {name for name in documented() if "<" not in name} - known == set()
