"""The command line: output, exit codes, termination by signals."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Warehouse

COMMAND = [sys.executable, "-c", "from crmbot_exporter.cli import main; main()"]
WORKBOOKS = ["actions_mrf1.xlsx", "nature_mrf1.xlsx"]


def _run(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_export_saves_both_workbooks_and_prints_their_paths(warehouse: "Warehouse", tmp_path: Path) -> None:
    done = _run(warehouse.environment(tmp_path), "export")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / name) for name in WORKBOOKS]
    assert sorted(path.name for path in tmp_path.iterdir()) == WORKBOOKS
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["marts built", *["workbook written"] * 2, "exported"]


def test_options_override_the_environment(warehouse: "Warehouse", tmp_path: Path) -> None:
    environment = warehouse.environment(tmp_path / "none", MRF="mrf9")
    options = ["--mrf", "mrf1", "--output-dir", str(tmp_path), "--stream", "nature"]
    done = _run(environment, "export", *options)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["nature_mrf1.xlsx"]


def test_marts_alone_writes_no_workbook(warehouse: "Warehouse", tmp_path: Path) -> None:
    done = _run(warehouse.environment(tmp_path), "marts")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert warehouse.query("SELECT actions FROM crm_bot_mart_actions_summary_mrf1") == [(0,), (0,)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"MRF": "centre"}, "MRF", id="MRF"),
        pytest.param({"TIMEZONE": "Moscow"}, "no time zone 'Moscow'", id="unknown zone"),
        pytest.param({"TIMEZONE": "Europe"}, "no time zone 'Europe'", id="half a zone"),
        pytest.param({"OUTPUT_DIR": "/nowhere/at/all"}, "check OUTPUT_DIR", id="folder"),
        pytest.param({"SQL_DIR": "/nowhere"}, "SQL_DIR", id="SQL files"),
        pytest.param({"MRF": "mrf5"}, "crmbot-consumer migrate", id="no tables"),
    ],
)
def test_invalid_settings_are_a_one_line_error_and_exit_2(
    warehouse: "Warehouse", tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    done = _run(warehouse.environment(tmp_path, **settings), "export")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("{")]) == 1


@pytest.mark.usefixtures("random_actions")
def test_a_full_disk_is_a_one_line_error_and_keeps_the_old_workbook(
    warehouse: "Warehouse", tmp_path: Path
) -> None:
    output, parts = tmp_path / "output", tmp_path / "parts"
    output.mkdir()
    parts.mkdir()
    environment = warehouse.environment(output, TMPDIR=str(parts))
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # the data of `make coverage` would not fit either
    workbook = output / "actions_mrf1.xlsx"
    workbook.write_bytes(b"old")
    # The file size limit simulates a full disk.
    kilobytes = 16
    command = f'ulimit -f {kilobytes} && exec "$@"'
    done = subprocess.run(
        ["bash", "-c", command, "bash", *COMMAND, "export"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("{"))
    assert "the old one is untouched" in line
    assert workbook.read_bytes() == b"old"
    assert [*output.iterdir(), *parts.iterdir()] == [workbook]


@pytest.mark.usefixtures("random_actions")
@pytest.mark.parametrize(("ending", "leftovers"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)])
def test_an_ended_export_leaves_the_old_workbook_and_the_old_marts(
    warehouse: "Warehouse", tmp_path: Path, ending: signal.Signals, leftovers: int
) -> None:
    environment = warehouse.environment(tmp_path)
    rows = "SELECT sum(actions) FROM crm_bot_mart_actions_daily_mrf1"
    assert _run(environment, "export", "--stream", "actions").returncode == 0
    workbook = tmp_path / "actions_mrf1.xlsx"
    before = workbook.read_bytes()
    warehouse.add_actions({})
    with psycopg.connect(warehouse.dsn) as reader:
        # Publishing waits for this reader: the new workbook is written but not yet renamed.
        reader.execute("SELECT * FROM crm_bot_mart_actions_daily_mrf1")
        process = subprocess.Popen([*COMMAND, "export", "--stream", "actions"], env=environment)
        warehouse.wait_for_lock()
        process.send_signal(ending)
        assert process.wait(60) == {signal.SIGTERM: 143, signal.SIGKILL: -9}[ending]
    assert workbook.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1 + leftovers
    assert warehouse.query(rows) == [(600,)]
    assert _run(environment, "export", "--stream", "actions").returncode == 0
    assert list(tmp_path.iterdir()) == [workbook]
    assert warehouse.query(rows) == [(601,)]


@pytest.mark.usefixtures("random_actions")
def test_new_marts_beside_an_old_workbook_are_put_right_by_the_next_run(
    warehouse: "Warehouse", tmp_path: Path
) -> None:
    environment = warehouse.environment(tmp_path)
    rows = "SELECT sum(actions) FROM crm_bot_mart_actions_daily_mrf1"
    assert _run(environment, "export").returncode == 0
    actions, nature = tmp_path / "actions_mrf1.xlsx", tmp_path / "nature_mrf1.xlsx"
    before = actions.read_bytes()
    warehouse.add_actions({})
    # Workbooks are renamed after the marts are committed; the first rename fails.
    nature.unlink()
    nature.mkdir()
    failed = _run(environment, "export")
    assert failed.returncode == 1
    assert "nature_mrf1.xlsx was not written" in failed.stderr
    assert warehouse.query(rows) == [(601,)]
    assert actions.read_bytes() == before
    nature.rmdir()
    assert _run(environment, "export").returncode == 0
    assert actions.read_bytes() != before
    assert sorted(tmp_path.iterdir()) == [actions, nature]


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"], ["marts", "--help"]])
def test_help_lists_the_exit_codes(warehouse: "Warehouse", tmp_path: Path, arguments: list[str]) -> None:
    done = _run(warehouse.environment(tmp_path), *arguments)
    assert done.returncode == 0
    assert "Exit codes" in done.stdout
