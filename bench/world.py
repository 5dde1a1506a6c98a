"""`python -m bench.world`: the generator compared with SQLite alone, which inserts ready-made rows.

Both sides alternate in one process and write the same tables; measured is CPU time: the time on one core.
"""

import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import click

from crmbot_core.contracts import STREAMS
from crmbot_generator.backfill import write
from crmbot_generator.files.bot_files import insert_statement, open_file
from crmbot_generator.files.values import milliseconds
from crmbot_generator.lives.story import StreamName
from crmbot_generator.parameters import read_parameters
from crmbot_generator.world.history import History, Span

_END = milliseconds(datetime(2026, 7, 1, tzinfo=UTC))
_DAY = 86_400_000
_BATCH_ROWS = 5_000
_TARGET = 0.6


@click.command()
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 50), default=3, show_default=True)
def main(days: int, rounds: int) -> None:
    """Compare a backfill with inserts of the same number of ready-made rows."""
    span = Span(_END - days * _DAY, _END)
    ratios = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write(folder / "ready", History("mrf1", read_parameters("typical"), 1, span), "mrf1", _zeros)
        ready = {stream: _ready_rows(folder / "ready" / f"{stream}.db", stream) for stream in STREAMS}
        rows = sum(map(len, ready.values()))
        for number in range(rounds):
            plain = _cpu_seconds(partial(_insert, folder / f"plain{number}", ready)) / rows
            world = _cpu_seconds(partial(_backfill, folder / f"world{number}", span)) / rows
            ratios.append(plain / world)
            print(f"plain {plain * 1e6:.2f} µs a row, world {world * 1e6:.2f} µs, ratio {ratios[-1]:.2f}")
    print(f"{rows:,} rows, {days} days: median ratio {median(ratios):.2f}, target {_TARGET}")
    sys.exit(median(ratios) < _TARGET)


def _cpu_seconds(work: Callable[[], None]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def _ready_rows(path: Path, stream: StreamName) -> list[tuple[object, ...]]:
    """Return a file's rows as tuples in the order of `insert_statement`."""
    columns = insert_statement(stream).partition("(")[2].partition(")")[0]
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM {stream} ORDER BY transaction_id").fetchall()


def _insert(folder: Path, ready: dict[StreamName, list[tuple[object, ...]]]) -> None:
    folder.mkdir()
    for name, stream in STREAMS.items():
        with closing(open_file(folder / f"{name}.db", stream, "mrf1", _zeros)) as connection:
            for start in range(0, len(ready[name]), _BATCH_ROWS):
                connection.execute("BEGIN")
                connection.executemany(insert_statement(name), ready[name][start : start + _BATCH_ROWS])
                connection.execute("COMMIT")


def _backfill(folder: Path, span: Span) -> None:
    write(folder, History("mrf1", read_parameters("typical"), 1, span), "mrf1", _zeros)


def _zeros(number: int) -> bytes:
    return bytes(number)


if __name__ == "__main__":
    gc.disable()  # as the command does
    main()
