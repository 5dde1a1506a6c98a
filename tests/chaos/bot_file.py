"""Reads and writes the bot's file, without code of the services."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

BotRow = dict[str, Any]

_BUSY_SECONDS = 20


class Source(NamedTuple):
    """An identity of a file. It owns the rows above `starts_after`, up to that of the next identity."""

    source_id: str
    mrf: str
    schema_version: int
    starts_after: int


def connect(file: Path) -> sqlite3.Connection:
    """Open a file; invalid UTF-8 is read with surrogate escapes."""
    connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = lambda text: text.decode(errors="surrogateescape")
    return connection


def sources(file: Path) -> list[Source]:
    """Return a file's identities, oldest first; none if the file does not exist yet."""
    query = "SELECT source_id, mrf, schema_version, starts_after FROM source ORDER BY starts_after, rowid"
    with suppress(sqlite3.OperationalError), closing(connect(file)) as connection:
        return [Source(*row) for row in connection.execute(query)]
    return []


def bot_rows(file: Path, stream: str) -> list[BotRow]:
    """Return all rows of a file, each with the fields of its identity."""
    with closing(connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(f"SELECT * FROM {stream} ORDER BY transaction_id")]
    identities = sources(file)
    for row in rows:
        own = [source for source in identities if source.starts_after < row["transaction_id"]][-1]
        row |= {"source_id": own.source_id, "mrf": own.mrf, "schema_version": own.schema_version}
    return rows


def newest_id(file: Path, stream: str) -> int:
    """Return the greatest transaction_id of a file; 0 if it has no rows or does not exist yet."""
    query = f"SELECT coalesce(max(transaction_id), 0) FROM {stream}"
    address = f"{file.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(address, uri=True)) as connection:
        return int(connection.execute(query).fetchone()[0])
    return 0


def copy_file(file: Path, copy: Path) -> None:
    """Copy a file by SQLite's online backup, while others write."""
    copy.unlink(missing_ok=True)
    with closing(connect(file)) as source, closing(connect(copy)) as target:
        source.backup(target)


def empty(file: Path, stream: str) -> None:
    """Reset a file to the state in which the bot created it."""
    with closing(connect(file)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"DELETE FROM {stream}")
        connection.execute("DELETE FROM sqlite_sequence")
        connection.execute(
            "DELETE FROM source WHERE rowid > (SELECT rowid FROM source ORDER BY starts_after, rowid LIMIT 1)"
        )
        connection.execute("UPDATE source SET lost_up_to = NULL")
        connection.execute("COMMIT")


def remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
