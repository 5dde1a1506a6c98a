"""Faults on demand: off by default, as many as asked, each listed in its file."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from crmbot_core.contracts import STREAMS
from services.generator.tests.bot import done, rows_of, select

FAULTS = ("late", "duplicate", "invalid", "broken_text", "wrong_clock")
_BACKFILL = ("backfill", "--rows", 4_000, "--days", 60, "--until", "2026-06-30", "--seed", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults")
    parameters = path / "faults.yaml"
    parameters.write_text(
        f"faults: {{{', '.join(f'{fault}: 0.02' for fault in FAULTS)}, bursts: 0.2, pauses: 0.2}}"
    )
    done(path, *_BACKFILL, "--parameters", parameters)
    return path


def faulty(folder: Path, fault: str) -> list[dict[str, Any]]:
    """Return the rows of both files that a fault is listed for."""
    listed = f"SELECT event_id FROM world_faults WHERE fault = '{fault}'"
    return [
        row
        for stream in STREAMS
        for row in select(folder, stream, f"SELECT * FROM {stream} WHERE event_id IN ({listed})")
    ]


def hours(row: dict[str, Any]) -> float:
    """Return how long after it happened a row was recorded."""
    at, recorded = (datetime.fromisoformat(row[name]) for name in ("occurred_at", "recorded_at"))
    return (recorded - at).total_seconds() / 3600


def test_without_faults_no_row_is_listed(tmp_path: Path) -> None:
    done(tmp_path, *_BACKFILL)
    for stream in STREAMS:
        tables = {row["name"] for row in select(tmp_path, stream, "SELECT name FROM sqlite_master")}
        assert "world_faults" not in tables


@pytest.mark.parametrize("fault", FAULTS)
def test_as_many_rows_have_faults_as_asked(folder: Path, fault: str) -> None:
    assert 0.5 * 0.02 * 4_000 < len(faulty(folder, fault)) < 1.6 * 0.02 * 4_000


def test_late_rows_were_recorded_hours_later(folder: Path) -> None:
    assert all(hours(row) >= 2 for row in faulty(folder, "late"))


def test_duplicates_repeat_a_row_under_another_event(folder: Path) -> None:
    own = ("transaction_id", "event_id", "recorded_at")
    rows = Counter(
        tuple(value for name, value in row.items() if name not in own)
        for stream in STREAMS
        for row in rows_of(folder, stream)
    )
    repeated = [
        rows[tuple(value for name, value in row.items() if name not in own)]
        for row in faulty(folder, "duplicate")
    ]
    assert sum(number > 1 for number in repeated) > 0.9 * len(repeated)  # the first may be of the burn-in


def test_invalid_values_break_the_contract(folder: Path) -> None:
    for row in faulty(folder, "invalid"):
        assert row["lead_id"] == "" or len(row["city"]) == 300 or "\x1f" in row["client_id"]


def test_broken_texts_are_not_utf8(folder: Path) -> None:
    for row in faulty(folder, "broken_text"):
        with pytest.raises(UnicodeEncodeError):
            row["manager_name"].encode()


def test_wrong_clocks_are_hours_off(folder: Path) -> None:
    assert {round(hours(row)) for row in faulty(folder, "wrong_clock")} == {-48, -3, -1, 1, 3}


def test_a_burst_is_recorded_in_one_minute(folder: Path) -> None:
    assert any(hours(row) > 0.5 for row in faulty(folder, "burst"))
    assert all(hours(row) < 2 for row in faulty(folder, "burst") + faulty(folder, "pause"))
