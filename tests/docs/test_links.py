"""Targets of links between pages exist, and so do the tests and faults named in docs/exactly-once.md."""

import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)")
_CODE = re.compile(r"```.*?```|^    .*?$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_DEFINED = re.compile(r"^(?:async )?def (\w+)\(", re.MULTILINE)


def _files(suffix: str) -> list[Path]:
    """Return the project's files with a suffix, except in build and hidden folders."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name != "build" and not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if name.endswith(suffix)]
    return found


PAGES = _files(".md")


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub generates for a page's headings."""
    headings = _HEADING.findall(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_link_targets_exist(page: Path) -> None:
    broken = []
    for name, anchor in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{name}#{anchor}" if anchor else name)
    assert broken == []


def test_tests_and_faults_named_in_exactly_once_exist() -> None:
    text = (ROOT / "docs" / "exactly-once.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.rpartition(" | ")[2])}
    defined = {name for path in _files(".py") for name in _DEFINED.findall(path.read_text(encoding="utf-8"))}
    assert len(rows) > 60
    assert len(named) > 90
    assert named - defined == set()
