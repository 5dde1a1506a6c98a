"""Every place with the project's version has that of pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ("*/*/pyproject.toml", r"^version = (\S+)$"),
        ("d*/pyproject.toml", r"^version = (\S+)$"),
        ("charts/*/Chart.yaml", r"^version: (\S+)$"),
        ("charts/*/Chart.yaml", r"^appVersion: (\S+)$"),
        ("*/*/Dockerfile", r"^ARG VERSION=(\S+)$"),
        ("dags/Dockerfile", r"^ARG VERSION=(\S+)$"),
        ("dags/data2excel.yaml", r"image: crmbot-exporter:(\S+)$"),
        ("charts/platform/values.yaml", r"image: crmbot-exporter:(\S+)$"),
        ("charts/platform/values.yaml", r"repository: crmbot-airflow\n +tag: (\S+)$"),
    ],
)
def test_it_is_the_project_s_version(files: str, place: str) -> None:
    paths = list(ROOT.glob(files))
    assert paths
    for path in paths:
        (version,) = re.findall(place, path.read_text(encoding="utf-8"), re.MULTILINE)
        assert (path, version.strip('"')) == (path, VERSION)
