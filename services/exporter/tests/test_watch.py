"""The watch command: workbooks as metrics, read at each scrape."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

COMMAND = [sys.executable, "-c", "from crmbot_exporter.cli import main; main()", "watch", "--mrf", "mrf2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "workbooks"
    folder.mkdir()
    return folder


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [*COMMAND, "--output-dir", str(folder)],
        env={**os.environ, "HTTP_PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    started = json.loads(process.stderr.readline())
    yield f"http://127.0.0.1:{started['http_port']}"
    process.terminate()
    assert process.wait(10) == 0


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _workbooks(address: str) -> dict[tuple[str, str, str], float]:
    _, text = _get(f"{address}/metrics")
    return {
        (sample.name, sample.labels["mrf"], sample.labels["stream"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("crmbot_exporter_workbook")
    }


def test_each_scrape_reflects_the_folder(folder: Path, address: str) -> None:
    assert _workbooks(address) == {}
    path = folder / "nature_mrf2.xlsx"
    for size, saved in ((10, 1_000_000_000), (2_000, 1_700_000_000)):
        path.write_bytes(b"x" * size)
        os.utime(path, (saved, saved))
        assert _workbooks(address) == {
            ("crmbot_exporter_workbook_timestamp_seconds", "mrf2", "nature"): saved,
            ("crmbot_exporter_workbook_bytes", "mrf2", "nature"): size,
        }


def test_workbooks_of_another_mrf_are_ignored(folder: Path, address: str) -> None:
    (folder / "actions_mrf1.xlsx").write_bytes(b"x")
    assert _workbooks(address) == {}


def test_ready_while_the_folder_exists(folder: Path, address: str) -> None:
    assert _get(f"{address}/healthz")[0] == 200
    assert _get(f"{address}/readyz") == (200, "ok\n")
    folder.rmdir()
    deadline = time.monotonic() + 30
    while _get(f"{address}/readyz")[0] == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    code, reason = _get(f"{address}/readyz")
    assert code == 503
    assert str(folder) in reason
