"""The site builds without a warning, and its links lead to its own pages or to files of the repository."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_URL = "https://git.example.com/crm-bot/blob/0123abc"
_LINK = re.compile(r'(?:href|src)="([^"]*)"')
_LOADED = re.compile(r'<(?:script|img)[^>]* src="([^"]*)"|<link[^>]* rel="stylesheet"[^>]* href="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site built as `make docs` does, for publication."""
    folder = tmp_path_factory.mktemp("site")
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    built = subprocess.run(
        [*sphinx, "--doctree-dir", folder / "doctrees", ROOT / "docs", folder / "html"],
        env=os.environ | {"SOURCE_URL": SOURCE_URL},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    return folder / "html"


def test_every_page_is_once_in_the_navigation(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    tree = index[index.index('class="sidebar-tree"') : index.index("</aside>")]
    listed = re.findall(r'<a class="reference internal" href="([^"#]+)\.html"', tree)
    pages = [path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(page.as_posix() for page in pages if page != Path("README"))
    captions = re.findall(r'class="caption-text">([^<]+)<', tree)
    assert captions == ["Try it", "Run it", "Change it"]


def test_links_lead_to_pages_or_to_the_repository(site: Path) -> None:
    lost = []
    to_source = 0
    for page in site.rglob("*.html"):
        for link in map(unescape, _LINK.findall(page.read_text(encoding="utf-8"))):
            url = urlsplit(link)
            if link.startswith(SOURCE_URL):
                to_source += 1
                target = ROOT / unquote(url.path.removeprefix(urlsplit(SOURCE_URL).path + "/"))
            else:
                target = page.parent / unquote(url.path) if url.path else page
            if (link.startswith(SOURCE_URL) or not url.scheme) and not target.exists():
                lost.append(f"{page.relative_to(site)}: {link}")
    assert lost == []
    assert to_source > 40


def test_a_reader_s_browser_loads_only_the_site(site: Path) -> None:
    loaded = {
        script or style
        for page in site.rglob("*.html")
        for script, style in _LOADED.findall(page.read_text(encoding="utf-8"))
    }
    assert loaded
    assert {urlsplit(link).netloc for link in loaded} == {""}
