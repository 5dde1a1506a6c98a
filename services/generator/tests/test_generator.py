"""The synthetic bot's files: repeatable, within the contract, and true to a bot's rules."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from crmbot_core.contracts import STREAMS
from crmbot_generator.cli import cli

UNTIL = "2026-06-30"


def backfill(folder: Path, rows: int = 3_000, seed: int = 1, mrf: str = "mrf5") -> None:
    arguments = ["backfill", "--rows", str(rows), "--days", "60", "--until", UNTIL, "--seed", str(seed)]
    done = CliRunner(env={"MRF": mrf, "DATA_DIR": str(folder)}).invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def rows_of(folder: Path, stream: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / f"{stream}.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {stream} ORDER BY transaction_id")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bot")
    backfill(path)
    return path


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    backfill(tmp_path / "again")
    backfill(tmp_path / "other", seed=2)
    for stream in STREAMS:
        assert rows_of(tmp_path / "again", stream) == rows_of(folder, stream)
        assert rows_of(tmp_path / "other", stream) != rows_of(folder, stream)


def test_without_a_seed_every_bot_is_another(tmp_path: Path) -> None:
    for name in ("one", "other"):
        environment = {"MRF": "mrf5", "DATA_DIR": str(tmp_path / name), "SEED": None}
        done = CliRunner(env=environment).invoke(cli, ["backfill", "--rows", "200"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    for stream in STREAMS:
        one, other = (
            {row["event_id"] for row in rows_of(tmp_path / name, stream)} for name in ("one", "other")
        )
        assert not one & other


def test_a_backfill_writes_as_many_rows_as_asked(folder: Path) -> None:
    assert sum(len(rows_of(folder, stream)) for stream in STREAMS) == 3_000


@pytest.mark.parametrize("name", STREAMS)
def test_every_row_fulfils_the_contract(folder: Path, name: str) -> None:
    stream = STREAMS["actions" if name == "actions" else "nature"]
    shared = {"schema_version": 1, "source_id": "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11", "mrf": "mrf5"}
    shared |= {"kafka_partition": 0, "previous_id": 0}
    for row in rows_of(folder, name):
        stream.model.model_validate_json(json.dumps(row | shared))


def test_rows_come_in_the_order_of_time_and_before_the_end(folder: Path) -> None:
    for stream in STREAMS:
        times = [row["occurred_at"] for row in rows_of(folder, stream)]
        assert times == sorted(times)
        assert times[0] >= "2026-05-01"
        assert times[-1] <= f"{UNTIL}T00:00:00.000Z"


def test_orders_come_from_leads_and_go_through_their_steps_in_order(folder: Path) -> None:
    placed = {row["lead_id"] for row in rows_of(folder, "actions") if row["result"] == "order_placed"}
    steps: dict[str, list[str]] = {}
    for row in rows_of(folder, "nature"):
        assert row["lead_id"] in placed
        assert (row["lost_reason"] is not None) == (row["status"] == "lost")
        steps.setdefault(row["order_id"], []).append(row["status"])
    way = ["application", "feasibility", "contract", "connected"]
    for taken in steps.values():
        won = taken[:-1] if taken[-1] == "lost" else taken
        assert won == way[: len(won)]
    assert {taken[-1] for taken in steps.values()} == {*way, "lost"}


def test_leads_end_once(folder: Path) -> None:
    ended = set()
    for row in rows_of(folder, "actions"):
        assert row["lead_id"] not in ended
        assert (row["refusal_reason"] is not None) == (row["result"] == "refused")
        if row["result"] in ("refused", "order_placed"):
            ended.add(row["lead_id"])


def test_live_goes_on_with_the_leads_and_numbers_that_are_there(tmp_path: Path) -> None:
    backfill(tmp_path, rows=1_000)
    known = {row["lead_id"] for row in rows_of(tmp_path, "actions")}
    before = len(rows_of(tmp_path, "actions"))
    environment = {"MRF": "mrf5", "DATA_DIR": str(tmp_path), "HTTP_PORT": "0"}
    done = CliRunner(env=environment).invoke(cli, ["live", "--rate", "2000", "--seconds", "0.5"])
    assert done.exit_code == 0, done.output
    new = rows_of(tmp_path, "actions")[before:]
    assert {row["lead_id"] for row in new if row["result"] != "new"} & known
    created = [row["lead_id"] for row in new if row["action"] == "lead_created"]
    assert created
    assert not set(created) & known
    assert len(set(created)) == len(created)


@pytest.mark.parametrize(
    ("environment", "arguments", "words"),
    [
        pytest.param({"MRF": "moscow"}, ["backfill"], "MRF", id="no such MRF"),
        pytest.param({}, ["backfill"], "MRF: Field required", id="no MRF"),
        pytest.param({"MRF": "mrf5", "DATA_DIR": "/proc/nothing"}, ["backfill"], "DATA_DIR", id="no folder"),
        pytest.param({"MRF": "mrf5"}, ["backfill", "--rows", "0"], "--rows", id="no rows"),
        pytest.param({"MRF": "mrf5"}, ["live", "--rate", "fast"], "--rate", id="no number"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    environment: dict[str, str], arguments: list[str], words: str
) -> None:
    done = CliRunner(env={"MRF": None, "DATA_DIR": None, **environment}).invoke(cli, arguments)
    assert done.exit_code in (1, 2)
    assert words in (str(done.exception) + done.output)


def test_a_second_backfill_and_another_mrf_are_refused(folder: Path) -> None:
    for mrf, words in (("mrf5", "has rows already"), ("mrf6", "belongs to mrf5")):
        done = CliRunner(env={"MRF": mrf, "DATA_DIR": str(folder)}).invoke(cli, ["backfill"])
        assert words in str(done.exception)


def test_a_backfill_of_new_files_only_leaves_a_bot_as_it_is(tmp_path: Path) -> None:
    runner = CliRunner(env={"MRF": "mrf5", "DATA_DIR": str(tmp_path)})
    for _ in range(2):
        done = runner.invoke(cli, ["backfill", "--if-new", "--rows", "200"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert sum(len(rows_of(tmp_path, stream)) for stream in STREAMS) == 200
