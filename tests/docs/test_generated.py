"""The generated parts of the docs are up to date."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate.py"))
DOCUMENTS: dict[Path, str] = GENERATOR["documents"]()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_is_up_to_date(path: Path) -> None:
    is_same = path.exists() and path.read_text(encoding="utf-8") == DOCUMENTS[path]
    assert is_same, f"{path.relative_to(ROOT)} is stale: run make docs"


def test_every_service_is_documented() -> None:
    page = DOCUMENTS[ROOT / "docs" / "commands.md"]
    services = {path.name for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").exists()}
    assert services == set(re.findall(r"^## crmbot-(\w+)$", page, re.MULTILINE))
    assert "### crmbot-consumer rejects replay\n" in page


def test_env_example_sets_required_settings_and_no_password() -> None:
    text = DOCUMENTS[ROOT / ".env.example"]
    lines = dict(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert set(re.findall(r"^([A-Z_]+)=", text, re.MULTILINE)) == {"MRF", "STREAM", "KAFKA_BOOTSTRAP_SERVERS"}
    assert {name: value for name, value in lines.items() if "PASSWORD" in name} == {
        "WAREHOUSE_PASSWORD": "",
        "KAFKA_SASL_PASSWORD": "",
    }
    settings = DOCUMENTS[ROOT / "docs" / "settings.md"]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", settings, re.MULTILINE)) == lines.keys()


def test_env_example_can_be_read_by_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(
        r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", DOCUMENTS[ROOT / ".env.example"], re.MULTILINE
    ):
        monkeypatch.setenv(name, value)
    read = {reads.settings for reads in GENERATOR["READS"].values()} - {None}
    assert len(read) > 5
    for settings in read:
        assert getattr(settings(), "mrf", "mrf1") == "mrf1"
