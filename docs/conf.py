"""Sphinx builds the site from the same Markdown that GitHub shows: `make docs`.

The navigation is made from the lists of links in README.md and decisions/README.md: a page missing there
fails the build. Links out of docs/ lead to SOURCE_URL, the address of the repository's files at the
published commit; without it, to the files on this machine.
"""

import os
import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "crm-bot pipeline"
version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
source_url = os.environ.get("SOURCE_URL") or ROOT.as_uri()

extensions = ["myst_parser"]
root_doc = "README"
source_suffix = {".md": "markdown"}
smartquotes = False
highlight_language = "none"

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_use_index = False

myst_heading_anchors = 4
# GitHub has none of these, so they are text.
myst_disable_syntax = ["myst_block_break", "myst_line_comment", "myst_role", "myst_target"]
# Schemes of `with_links_to_source`; Markdown refuses file:.
myst_url_schemes = {
    "http": None,
    "https": None,
    "source": {"url": f"{source_url}/{{{{path}}}}"},
    "source-part": {"url": f"{source_url}/{{{{path}}}}#{{{{fragment}}}}"},
}

_OUT_OF_DOCS = re.compile(r"\]\((\.\./[^)#\s]+)(#?)")
_LISTED = re.compile(r"^(?:\*|\|) \[[^\]]+\]\((?!\.\./)([^)#\s]+)\.md\)", re.MULTILINE)
_INDEXES = ("README", "decisions/README")


def with_links_to_source(page: Path, text: str) -> str:
    """Return a page's text with links out of docs/ as `source:path`; Sphinx reports broken ones."""

    def replacement(link: re.Match[str]) -> str:
        target = (page.parent / link[1]).resolve()
        if target.is_relative_to(DOCS) or not target.exists():
            return link[0]
        scheme = "source-part" if link[2] else "source"
        return f"]({scheme}:{target.relative_to(ROOT).as_posix()}{link[2]}"

    return _OUT_OF_DOCS.sub(replacement, text)


def navigation(text: str) -> str:
    """Return a hidden toctree for each section that lists pages, with the section's heading as caption."""
    parts = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        if pages := _LISTED.findall(section):
            caption = f":caption: {section.splitlines()[0]}\n" if not section.startswith("# ") else ""
            parts.append("\n```{toctree}\n:hidden:\n" + caption + "\n" + "\n".join(pages) + "\n```\n")
    return "".join(parts)


def read_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """Adapt the text of a page before it is parsed."""
    text = content[0]
    content[0] = with_links_to_source(Path(app.env.doc2path(docname)), text)
    if docname in _INDEXES:
        content[0] += navigation(text)


def name_indexes(app: Sphinx, exception: Exception | None) -> None:
    """Serve each folder's README.html at the folder's address, too."""
    if exception is None:
        for page in app.outdir.rglob("README.html"):
            page.with_name("index.html").write_bytes(page.read_bytes())


def setup(app: Sphinx) -> None:
    """Register the hooks."""
    app.connect("source-read", read_page)
    app.connect("build-finished", name_indexes)
