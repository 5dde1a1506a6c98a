"""The bot's two files: made, checked and written."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from crmbot_core.contracts import STREAMS, Stream
from crmbot_core.contracts.source_table import insert_identity
from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_generator.files.values import timestamps, uuids
from crmbot_generator.lives.story import COLUMNS, Row, StreamName

RandomBytes = Callable[[int], bytes]

_BUSY_SECONDS = 30.0
_CLOSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FAULTS = "CREATE TABLE IF NOT EXISTS world_faults (event_id TEXT NOT NULL, fault TEXT NOT NULL)"
_PLACEHOLDERS = {"manager_name": "CAST(? AS TEXT)"}  # of a text that is not UTF-8, its bytes are given
# SQLite takes half as long for 20 rows in one statement as for 20 statements: AUTOINCREMENT counts once.
_ROWS_PER_INSERT = 20


def insert_statement(stream: StreamName, rows: int = 1) -> str:
    """Return the INSERT of so many rows of a stream."""
    columns = COLUMNS[stream]
    row = f"(?, ?, ?, {', '.join(_PLACEHOLDERS.get(name, '?') for name in columns)})"
    names = ", ".join(("event_id", "occurred_at", "recorded_at", *columns))
    return f"INSERT INTO {stream} ({names}) VALUES {', '.join([row] * rows)}"


_INSERT_ONE = {stream: insert_statement(stream) for stream in COLUMNS}
_INSERT_MANY = {stream: insert_statement(stream, _ROWS_PER_INSERT) for stream in COLUMNS}


def open_file(path: Path, stream: Stream, mrf: str, random_bytes: RandomBytes) -> sqlite3.Connection:
    """Open a bot's file for writing, and make it if it is missing, tables and identity included.

    Raises:
        ConfigurationError: the file is another bot's, or the other one of the two.
        sqlite3.DatabaseError: as SQLite says; see `translated_errors`.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    with transaction(connection):  # nobody ever sees a file that is half made
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'source'").fetchone():
            make_tables(connection, stream, mrf, random_bytes)
    return connection


def make_tables(connection: sqlite3.Connection, stream: Stream, mrf: str, random_bytes: RandomBytes) -> None:
    """Make a stream's tables, and the file's identity."""
    for statement in filter(str.strip, stream.sqlite_ddl.split(";")):
        connection.execute(statement)
    (identity,) = uuids(random_bytes(16))
    insert_identity(connection, identity, stream=stream.name, mrf=mrf)


def check_files(folder: Path, mrf: str) -> None:
    """Raise ConfigurationError if there is a file that is another bot's, or the other one of the two."""
    for name, stream in STREAMS.items():
        path = folder / f"{name}.db"
        if not path.exists():
            continue
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'source'").fetchone():
                continue
            found = connection.execute("SELECT DISTINCT stream, mrf FROM source ORDER BY mrf").fetchall()
        if found != [(stream.name, mrf)]:
            owners = ", ".join(f"{owner} ({name})" for name, owner in found)
            raise ConfigurationError(
                f"{path} belongs to {owners}, not to {mrf} ({stream.name}): check MRF and DATA_DIR"
            )


def has_rows(folder: Path) -> bool:
    """Return whether one of the bot's files has rows."""
    for name in STREAMS:
        path = folder / f"{name}.db"
        if path.exists():
            with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
                has_table = connection.execute(
                    "SELECT 1 FROM sqlite_master WHERE name = ?", (name,)
                ).fetchone()
                if has_table and connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone():
                    return True
    return False


def insert(
    connection: sqlite3.Connection,
    stream: StreamName,
    rows: Sequence[Row],
    recorded: Iterable[int],
    random_bytes: RandomBytes,
) -> None:
    """Insert rows of a stream, recorded at these moments, and list their faults in `world_faults`."""
    events = uuids(random_bytes(16 * len(rows)))
    happened = timestamps(row[0] - row[3] for row in rows)
    own = zip(events, happened, timestamps(recorded), strict=True)
    values = [times + row[2] for times, row in zip(own, rows, strict=True)]
    if any(row[4] for row in rows):
        values = [tuple(map(_storable, of_row)) for of_row in values]
        faults = ((event, row[4]) for event, row in zip(events, rows, strict=True) if row[4])
        connection.execute(_FAULTS)
        connection.executemany("INSERT INTO world_faults VALUES (?, ?)", faults)
    rest = len(values) % _ROWS_PER_INSERT
    for start in range(0, len(values) - rest, _ROWS_PER_INSERT):
        of_statement = chain.from_iterable(values[start : start + _ROWS_PER_INSERT])
        connection.execute(_INSERT_MANY[stream], tuple(of_statement))
    connection.executemany(_INSERT_ONE[stream], values[len(values) - rest :])


def _storable(value: Any) -> Any:  # noqa: ANN401  (a value of a row)
    """Return what SQLite stores: of a text that is not UTF-8 its bytes, which `CAST` makes a text again."""
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):
            value.encode()
            return value
        return value.encode(errors="surrogateescape")
    return value


def highest_number(connection: sqlite3.Connection, table: str, key: str, numbers: range) -> int:
    """Return the highest number of a range in keys such as mrf1-L00000041; without any, the one before it."""
    (number,) = connection.execute(
        f"SELECT max(number) FROM (SELECT CAST(substr({key}, instr({key}, '-') + 2) AS INTEGER) AS number "
        f"FROM {table}) WHERE number BETWEEN ? AND ?",
        (numbers[0], numbers[-1]),
    ).fetchone()
    return numbers[0] - 1 if number is None else int(number)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK") if connection.in_transaction else None
        raise
    connection.execute("COMMIT")


@contextmanager
def translated_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the system and of SQLite into ConfigurationError and StoppedError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"DATA_DIR {folder}: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _CLOSED:
            raise ConfigurationError(f"DATA_DIR {folder}: {error}; it has to be writable") from error
        advice = "restore the file from a backup" if code in _DAMAGED else "nothing was written; try again"
        raise StoppedError(f"{folder}: {error}; {advice}") from error
