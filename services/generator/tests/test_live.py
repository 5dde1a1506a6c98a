"""The bot at work: the world goes on by its clock, whatever happens to the process or to a file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crmbot_core.contracts import STREAMS
from crmbot_generator.calendar.days import DAY
from crmbot_generator.files.state import StateFiles
from crmbot_generator.files.values import milliseconds
from crmbot_generator.live import Bot, open_files
from crmbot_generator.parameters import read_parameters
from services.generator.tests.bot import done, rows_of, select

START = milliseconds(datetime(2026, 3, 2, tzinfo=UTC))
HOUR = 3_600_000


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    done(folder, "backfill", "--days", 30, "--until", "2026-03-02", "--seed", 1, "--rows-per-day", 200)
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "bot")
    return tmp_path / "bot"


@contextmanager
def bot(folder: Path, now: int = START) -> Iterator[Bot]:
    files = open_files(folder, "mrf5", now, os.urandom)
    try:
        yield Bot(files, "mrf5", read_parameters("small"), 1, now)
    finally:
        files.close()


def work(folder: Path, days: int, step: int = HOUR) -> None:
    """Let the world go on until so many days after `START`, in steps."""
    with bot(folder) as running:
        clock = running.clock
        end = START + days * DAY
        while clock < end:
            clock = min(clock + step, end)
            while running.step(clock, clock):
                pass


def content(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what happened, without event ids."""
    return {
        stream: [
            tuple(value for name, value in row.items() if name not in ("event_id", "recorded_at"))
            for row in rows_of(folder, stream)
        ]
        for stream in STREAMS
    }


def test_the_world_is_the_same_however_often_the_bot_is_started(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    work(folder, 7)
    for days in range(1, 8):
        work(tmp_path / "other", days)
    assert content(tmp_path / "other") == content(folder)


def test_a_lead_that_began_before_keeps_client_manager_and_price(folder: Path) -> None:
    before = {row["lead_id"] for row in rows_of(folder, "actions")}
    work(folder, 10)
    same = ("client_id", "client_name", "segment", "manager_id", "branch", "product", "potential_revenue")
    values: dict[str, set[tuple[Any, ...]]] = {}
    after = [row for row in rows_of(folder, "actions") if row["lead_id"] in before]
    for row in after:
        values.setdefault(row["lead_id"], set()).add(tuple(row[name] for name in same))
    assert max(row["occurred_at"] for row in after) > "2026-03-03"
    assert {len(of_lead) for of_lead in values.values()} == {1}
    for order in rows_of(folder, "nature"):
        if order["lead_id"] in values:
            (of_lead,) = values[order["lead_id"]]
            assert (order["client_id"], order["service"], order["monthly_revenue"]) == (
                of_lead[0],
                *of_lead[5:],
            )


def test_rows_happen_at_their_time_and_at_night_there_is_night(folder: Path) -> None:
    newest = len(rows_of(folder, "actions"))
    work(folder, 14)
    rows = rows_of(folder, "actions")[newest:]
    hours = [datetime.fromisoformat(row["occurred_at"]).hour + 5 for row in rows]  # in Yekaterinburg
    assert sum(9 <= hour < 20 for hour in hours) > 0.9 * len(rows)
    assert not any(0 <= hour < 6 or hour >= 24 for hour in hours)
    recorded = [row["recorded_at"] for row in rows]
    assert recorded == sorted(recorded)
    assert all(row["occurred_at"] <= row["recorded_at"] for row in rows)


class KilledError(Exception):
    """In place of a kill -9."""


@pytest.mark.parametrize("is_delivered", [False, True], ids=["before nature.db", "after nature.db"])
def test_a_kill_between_the_files_loses_and_repeats_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_delivered: bool
) -> None:
    shutil.copytree(folder, tmp_path / "expected")
    work(tmp_path / "expected", 3)
    deliver, kills = StateFiles.deliver, iter(range(1_000_000))

    def killed(files: StateFiles, now: int) -> None:
        if is_delivered:
            deliver(files, now)
        if next(kills) % 3 == 2:
            raise KilledError
        if not is_delivered:
            deliver(files, now)

    monkeypatch.setattr(StateFiles, "deliver", killed)
    times = 0
    while True:
        try:
            work(folder, 3)
            break
        except KilledError:
            times += 1
    assert times > 5
    monkeypatch.undo()
    with bot(folder):
        pass
    assert content(folder) == content(tmp_path / "expected")


def test_a_restored_file_gives_no_number_twice(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "actions.db", tmp_path / "backup.db")
    work(folder, 5)
    orders = {row["order_id"] for row in rows_of(folder, "nature")}
    for suffix in ("-wal", "-shm"):
        (folder / f"actions.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", folder / "actions.db")
    with bot(folder, START + 5 * DAY) as running:
        assert running.next_order > max(int(order.split("-O")[1]) for order in orders)


def test_a_bot_without_files_begins_with_a_full_pipeline(tmp_path: Path) -> None:
    work(tmp_path / "new", 1)
    statuses = {row["status"] for row in rows_of(tmp_path / "new", "nature")}
    assert statuses >= {"application", "feasibility", "contract", "connected"}


def test_load_writes_exactly_its_rate_and_leaves_the_world_alone(folder: Path) -> None:
    before = {stream: len(rows_of(folder, stream)) for stream in STREAMS}
    agenda = select(folder, "actions", "SELECT count(*) AS rows FROM world_agenda")
    done(folder, "load", "--rate", 700, "--seconds", 1)
    new = [row for stream in STREAMS for row in rows_of(folder, stream)[before[stream] :]]
    assert len(new) == 700
    assert select(folder, "actions", "SELECT count(*) AS rows FROM world_agenda") == agenda
    numbers = {int(row["lead_id"].split("-L")[1]) for row in new}
    assert min(numbers) >= 50_000_000


def test_load_keeps_the_shapes(folder: Path) -> None:
    """As many leads, orders and refusals among its rows as in a year of the world, give or take chance."""
    before = {stream: len(rows_of(folder, stream)) for stream in STREAMS}
    done(folder, "load", "--rate", 4_000, "--seconds", 1)
    columns = {"actions": "result", "nature": "status"}
    for stream in STREAMS:
        column, rows = columns[stream], rows_of(folder, stream)
        usual, new = rows[: before[stream]], rows[before[stream] :]
        for value in {row[column] for row in usual}:
            share, of_load = (
                sum(row[column] == value for row in group) / len(group) for group in (usual, new)
            )
            assert of_load == pytest.approx(share, rel=0.35, abs=0.02)


def test_every_pair_of_a_load_is_whole(folder: Path) -> None:
    before = {stream: len(rows_of(folder, stream)) for stream in STREAMS}
    done(folder, "load", "--rate", 3_000, "--seconds", 1)
    placed = {
        row["lead_id"]
        for row in rows_of(folder, "actions")[before["actions"] :]
        if row["result"] == "order_placed"
    }
    applied = {
        row["lead_id"]
        for row in rows_of(folder, "nature")[before["nature"] :]
        if row["status"] == "application"
    }
    assert placed == applied
