"""Faults on demand: what real bots do and the world does not.

The table `world_faults` of a file lists its rows with faults: the truth for tests.
"""

import random
from collections.abc import Callable

from crmbot_generator.lives.story import COLUMNS, Row
from crmbot_generator.parameters import FaultParameters

_HOUR, _MINUTE = 3_600_000, 60_000
_BURST = 100  # minutes of work that a bot records in one
BROKEN = "\udcff\udcfe"  # two bytes that are not UTF-8, as `surrogateescape` has them

Fault = Callable[[random.Random, Row], list[Row]]


class Faults:
    """Injects faults into rows.

    Args:
        parameters: how many.
        seed: of the world.
    """

    def __init__(self, parameters: FaultParameters, seed: int) -> None:
        self._parameters = parameters
        self._seed = seed
        self._of_rows: list[tuple[float, Fault]] = [
            (parameters.late, _late),
            (parameters.duplicate, _duplicate),
            (parameters.invalid, _invalid),
            (parameters.broken_text, _broken_text),
            (parameters.wrong_clock, _wrong_clock),
        ]
        self.is_on = any(rate for _, rate in parameters)

    def apply(self, day: int, rows: list[Row]) -> list[Row]:
        """Return the rows of a day's leads with their faults; the same for the same day."""
        if not self.is_on:
            return rows
        rng = random.Random(f"{self._seed} {day} faults")
        result: list[Row] = []
        for row in rows:
            faulty = [row]
            for rate, fault in self._of_rows:
                if rate and rng.random() < rate:
                    faulty = fault(rng, row)
                    break
            result += faulty
        return self._gathered(rng, result)

    def _gathered(self, rng: random.Random, rows: list[Row]) -> list[Row]:
        """Move rows to the end of pauses, and of times that are recorded in one minute."""
        for name, rate, length in (
            ("burst", self._parameters.bursts, _BURST * _MINUTE),
            ("pause", self._parameters.pauses, _HOUR),
        ):
            for _ in range(int(rate) + (rng.random() < rate % 1)):
                end = rng.choice(rows).at if rows else 0
                rows = [
                    _moved(row, end, name) if end - length < row.at <= end and not row.fault else row
                    for row in rows
                ]
        return rows


def _moved(row: Row, at: int, fault: str) -> Row:
    return row._replace(at=at, lag=row.lag + at - row.at, fault=fault)


def _late(rng: random.Random, row: Row) -> list[Row]:
    return [_moved(row, row.at + int(rng.uniform(2, 60) * _HOUR), "late")]


def _duplicate(rng: random.Random, row: Row) -> list[Row]:
    again = row.at + int(rng.uniform(5, 600) * 1000)
    return [row, row._replace(at=again, lag=again - row.at, fault="duplicate")]


def _invalid(rng: random.Random, row: Row) -> list[Row]:
    """Give a column a value that the contract refuses and SQLite takes."""
    column, value = rng.choice((("lead_id", ""), ("city", "x" * 300), ("client_id", "a\x1fb")))
    return [_changed(row, column, value, "invalid")]


def _broken_text(_: random.Random, row: Row) -> list[Row]:
    place = COLUMNS[row.stream].index("manager_name")
    return [_changed(row, "manager_name", row.values[place] + BROKEN, "broken_text")]


def _wrong_clock(rng: random.Random, row: Row) -> list[Row]:
    hours = rng.choice((-48, -3, -1, 1, 3))
    return [row._replace(lag=row.lag + hours * _HOUR, fault="wrong_clock")]


def _changed(row: Row, column: str, value: str, fault: str) -> Row:
    place = COLUMNS[row.stream].index(column)
    return row._replace(values=(*row.values[:place], value, *row.values[place + 1 :]), fault=fault)
