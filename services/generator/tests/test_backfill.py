"""A backfill: repeatable, within the contract, complete, and with a full pipeline at both ends."""

import json
from pathlib import Path

import pytest

from crmbot_core.contracts import STREAMS, stream_named
from services.generator.tests.bot import done, rows_of, run, select

UNTIL = "2026-06-30"
_BACKFILL = ("backfill", "--days", 60, "--until", UNTIL, "--seed", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bot")
    done(path, *_BACKFILL, "--rows", 3_000)
    return path


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    done(tmp_path / "again", *_BACKFILL, "--rows", 3_000)
    done(tmp_path / "other", *_BACKFILL[:-1], 2, "--rows", 3_000)
    for stream in STREAMS:
        file = (folder / f"{stream}.db").read_bytes()
        assert (tmp_path / "again" / f"{stream}.db").read_bytes() == file
        assert (tmp_path / "other" / f"{stream}.db").read_bytes() != file


def test_without_a_seed_every_bot_is_another(tmp_path: Path) -> None:
    for name in ("one", "other"):
        done(tmp_path / name, "backfill", "--rows", 200)
    for stream in STREAMS:
        one, other = (
            {row["event_id"] for row in rows_of(tmp_path / name, stream)} for name in ("one", "other")
        )
        assert not one & other


@pytest.mark.parametrize("rows", [1, 2, 37, 3_000])
def test_a_backfill_writes_exactly_as_many_rows_as_asked(tmp_path: Path, rows: int) -> None:
    done(tmp_path, *_BACKFILL, "--rows", rows)
    assert sum(len(rows_of(tmp_path, stream)) for stream in STREAMS) == rows


@pytest.mark.parametrize("name", STREAMS)
def test_every_row_fulfils_the_contract(folder: Path, name: str) -> None:
    stream = stream_named(name)
    shared = {"schema_version": 1, "source_id": "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11", "mrf": "mrf5"}
    shared |= {"kafka_partition": 0, "previous_id": 0}
    for row in rows_of(folder, name):
        stream.model.model_validate_json(json.dumps(row | shared))


@pytest.mark.parametrize("stream", STREAMS)
def test_rows_are_recorded_in_order_and_never_before_they_happen(folder: Path, stream: str) -> None:
    rows = rows_of(folder, stream)
    recorded = [row["recorded_at"] for row in rows]
    assert recorded == sorted(recorded)
    assert all(row["occurred_at"] <= row["recorded_at"] <= f"{UNTIL}T00:00:00.000Z" for row in rows)
    assert rows[0]["occurred_at"] >= "2026-05-01"


def test_an_order_comes_with_the_action_that_places_it(folder: Path) -> None:
    """Neither at the beginning nor at the end is a pair cut."""
    placed = [row["lead_id"] for row in rows_of(folder, "actions") if row["result"] == "order_placed"]
    applied = [row["lead_id"] for row in rows_of(folder, "nature") if row["status"] == "application"]
    assert sorted(placed) == sorted(applied)
    assert len(set(placed)) == len(placed)


def test_orders_go_through_their_steps(folder: Path) -> None:
    way = ["application", "feasibility", "contract", "connected"]
    steps: dict[str, list[str]] = {}
    for row in rows_of(folder, "nature"):
        assert (row["lost_reason"] is not None) == (row["status"] == "lost")
        steps.setdefault(row["order_id"], []).append(row["status"])
    for taken in steps.values():
        won = taken[:-1] if taken[-1] == "lost" else taken
        first = way.index(won[0]) if won else 0  # an order of the burn-in has taken steps before
        assert won == way[first : first + len(won)]
    assert {taken[-1] for taken in steps.values()} == {*way, "lost"}


def test_leads_end_once(folder: Path) -> None:
    ended = set()
    for row in rows_of(folder, "actions"):
        assert row["lead_id"] not in ended
        assert (row["refusal_reason"] is not None) == (row["result"] == "refused")
        if row["result"] in ("refused", "order_placed"):
            ended.add(row["lead_id"])


def test_the_pipeline_is_full_from_the_first_week_to_the_last(tmp_path: Path) -> None:
    done(tmp_path, "backfill", "--days", 84, "--until", "2026-06-29", "--seed", 3, "--rows-per-day", 400)
    weeks = [
        row["connected"]
        for row in select(
            tmp_path,
            "nature",
            "SELECT count(*) AS connected FROM nature WHERE status = 'connected' "
            "GROUP BY cast((julianday(occurred_at) - julianday('2026-04-06')) / 7 AS INTEGER)",
        )
    ]
    assert len(weeks) == 12
    usual = sorted(weeks)[6]
    assert min(weeks[0], weeks[-1]) > 0.6 * usual
    assert min(weeks) > 0.5 * usual


def test_a_second_backfill_and_another_mrf_are_refused(folder: Path) -> None:
    for mrf, words in (("mrf5", "has rows already"), ("mrf6", "belongs to mrf5")):
        assert words in str(run(folder, "backfill", mrf=mrf).exception)


def test_a_backfill_of_new_files_only_leaves_a_bot_as_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        done(tmp_path, "backfill", "--if-new", "--rows", 200)
    assert sum(len(rows_of(tmp_path, stream)) for stream in STREAMS) == 200


def test_a_backfill_that_was_killed_leaves_no_bot(tmp_path: Path) -> None:
    """Files get their names when they are complete; what is left of others is overwritten."""
    (tmp_path / ".actions.db.part").write_bytes(b"half of a file")
    (tmp_path / ".nature.db.part").write_bytes(b"half of a file")
    done(tmp_path, "backfill", "--if-new", "--rows", 200)
    assert sum(len(rows_of(tmp_path, stream)) for stream in STREAMS) == 200
    assert not list(tmp_path.glob(".*"))


def test_a_backfill_that_was_killed_between_its_files_is_completed(tmp_path: Path) -> None:
    done(tmp_path, "backfill", "--rows", 200)
    (tmp_path / "nature.db").rename(tmp_path / ".nature.db.part")
    assert "has rows already" in str(run(tmp_path, "backfill", "--rows", 200).exception)
    assert sum(len(rows_of(tmp_path, stream)) for stream in STREAMS) == 200


@pytest.mark.parametrize(
    ("environment", "arguments", "words"),
    [
        pytest.param({"MRF": "moscow"}, ["backfill"], "MRF", id="no such MRF"),
        pytest.param({"MRF": ""}, ["backfill"], "MRF: Field required", id="no MRF"),
        pytest.param({"DATA_DIR": "/proc/nothing"}, ["backfill"], "DATA_DIR", id="no folder"),
        pytest.param({}, ["backfill", "--rows", "0"], "--rows", id="no rows"),
        pytest.param({}, ["live", "--speedup", "fast"], "--speedup", id="no number"),
        pytest.param({}, ["load"], "--rate", id="no rate"),
        pytest.param({"PROFILE": "huge"}, ["backfill"], "PROFILE", id="no such profile"),
        pytest.param({"PARAMETERS": "/no/file.yaml"}, ["backfill"], "/no/file.yaml", id="no parameters"),
    ],
)
def test_wrong_input_is_reported_in_one_line(
    tmp_path: Path, environment: dict[str, str], arguments: list[str], words: str
) -> None:
    result = run(tmp_path, *arguments, **environment)
    assert result.exit_code in (1, 2)
    assert words in (str(result.exception) + result.output)
