"""The `backfill` command: new files with the past of a world."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from operator import itemgetter
from pathlib import Path

from crmbot_core.contracts import STREAMS
from crmbot_generator.files.bot_files import RandomBytes, insert, make_tables, transaction
from crmbot_generator.files.state import StateFiles
from crmbot_generator.lives.story import Row, StreamName
from crmbot_generator.world.history import History

_BATCH_ROWS = 5_000


def write(folder: Path, history: History, mrf: str, random_bytes: RandomBytes) -> int:
    """Write a world's past and its state to new files; return the number of rows.

    The files get their names when they are complete: actions.db first. If this is interrupted between them,
    `finish` gives the other one its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[StreamName, Path] = {name: folder / f".{name}.db.part" for name in STREAMS}
    for part in parts.values():
        _remove(part)
    number = 0
    with closing(_unjournaled(parts["actions"])) as actions, closing(_unjournaled(parts["nature"])) as nature:
        connections: dict[StreamName, sqlite3.Connection] = {"actions": actions, "nature": nature}
        for name, connection in connections.items():
            with transaction(connection):
                make_tables(connection, STREAMS[name], mrf, random_bytes)
        last = dict.fromkeys(connections, 0)
        for batch in _batches(history.rows()):
            for name, connection in connections.items():
                rows = [row for row in batch if row.stream == name]
                recorded = list(_recorded(rows, last[name], history.end))
                with transaction(connection):
                    insert(connection, name, rows, recorded, random_bytes)
                last[name] = recorded[-1] if recorded else last[name]
            number += len(batch)
        future = sorted(history.future, key=itemgetter(0))
        StateFiles(actions, nature, random_bytes).plan(history.state, future, history.world.clients)
        for connection in connections.values():
            connection.execute("PRAGMA journal_mode = WAL")
    for part in parts.values():
        with part.open("rb") as file:
            os.fsync(file)
    for name in STREAMS:
        _remove(folder / f"{name}.db")
    parts["actions"].rename(folder / "actions.db")
    finish(folder)
    return number


def finish(folder: Path) -> None:
    """Complete a backfill that was interrupted when its files were ready; remove the parts of any other."""
    part = folder / ".nature.db.part"
    if part.exists() and (folder / "actions.db").exists() and not (folder / "nature.db").exists():
        part.rename(folder / "nature.db")


def _unjournaled(path: Path) -> sqlite3.Connection:
    """Open a new file that nobody else sees: without a journal, since it is thrown away if this fails."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _recorded(rows: Iterable[Row], last: int, end: int) -> Iterator[int]:
    """Yield when rows were recorded: up to five seconds after they happened, one after another."""
    for row in rows:
        last = min(end, max(last, row.at + 200 + (row.at * 2_654_435_761 >> 8) % 4_800))
        yield last
