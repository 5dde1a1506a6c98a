"""The bot's two files: made, written in the order of commits, and read back to go on."""

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from crmbot_core.contracts import STREAMS, Stream
from crmbot_core.contracts.source_table import insert_identity
from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_generator.simulation import Continuation, Event, Lead
from crmbot_generator.vocabulary import TARIFFS

StreamName = Literal["actions", "nature"]

_BUSY_SECONDS = 30.0
_CLOSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_STALE = timedelta(days=30)  # a lead that nobody touched for so long is dead


def random_uuid(rng: random.Random) -> str:
    """Return a UUID, version 4, from the given generator; four times as fast as the uuid module."""
    h = f"{rng.getrandbits(128):032x}"
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


class BotFiles:
    """actions.db and nature.db of one MRF, opened for writing; makes them where they are missing.

    Raises:
        ConfigurationError: the folder cannot be written, or a file is of another MRF or stream; none is made.
        StoppedError: a file is damaged, or the disk is full.
    """

    def __init__(self, folder: Path, mrf: str, rng: random.Random) -> None:
        self._rng = rng
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, stream in STREAMS.items():
                _check(folder / f"{name}.db", stream, mrf)
            self._connections = {
                name: _opened(folder / f"{name}.db", stream, mrf, rng) for name, stream in STREAMS.items()
            }
        except OSError as error:
            raise ConfigurationError(f"DATA_DIR {folder}: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _CLOSED:
                raise ConfigurationError(f"DATA_DIR {folder}: {error}; it has to be writable") from error
            is_damaged = error.sqlite_errorcode & 0xFF in _DAMAGED
            advice = "restore the file from a backup" if is_damaged else "nothing was written; try again"
            raise StoppedError(f"{folder}: {error}; {advice}") from error
        self._inserts = {name: _insert(stream) for name, stream in STREAMS.items()}

    def append(
        self, events: Iterable[Event], at: datetime | None = None, not_after: datetime | None = None
    ) -> int:
        """Commit events and return their number.

        `at` is the time to record, by default each event's own, or `not_after` for those that are later.

        Actions are committed first: nature refers to them.
        """
        rows: dict[StreamName, list[dict[str, Any]]] = {"actions": [], "nature": []}
        for event in events:
            happened = at or (min(event.at, not_after) if not_after else event.at)
            recorded = happened + timedelta(milliseconds=self._rng.randint(200, 5_000))
            rows[event.stream].append(
                event.values
                | {
                    "event_id": random_uuid(self._rng),
                    "occurred_at": _timestamp(happened),
                    "recorded_at": _timestamp(recorded),
                }
            )
        for name, new in rows.items():
            if new:
                self._commit(name, new)
        return sum(map(len, rows.values()))

    def count(self) -> dict[str, int]:
        """Return the number of rows by stream."""
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name, connection in self._connections.items()
        }

    def continuation(self) -> Continuation:
        """Read what is needed to go on where these files end: memory grows with unfinished leads alone."""
        orders, leads = self._connections["nature"], self._connections["actions"]
        (newest,) = leads.execute("SELECT max(recorded_at) FROM actions").fetchone()
        cutoff = _timestamp(datetime.fromisoformat(newest) - _STALE) if newest else ""
        unfinished = [
            *orders.execute(_last_rows("nature", "order_id", "status NOT IN ('connected', 'lost')")),
            *leads.execute(
                _last_rows(
                    "actions", "lead_id", "result NOT IN ('refused', 'order_placed') AND recorded_at > ?"
                ),
                (cutoff,),
            ),
        ]
        return Continuation(
            next_lead=1 + _highest_number(leads, "actions", "lead_id"),
            next_order=1 + _highest_number(orders, "nature", "order_id"),
            unfinished=[_lead(row) for row in unfinished],
        )

    def close(self) -> None:
        """Close both databases."""
        for connection in self._connections.values():
            connection.close()

    def _commit(self, name: StreamName, rows: list[dict[str, Any]]) -> None:
        connection = self._connections[name]
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(self._inserts[name], rows)
        except sqlite3.DatabaseError as error:
            raise StoppedError(f"{name}.db: {error}; nothing of this batch was written") from error


def _last_rows(table: str, key: str, condition: str) -> str:
    """Return the query of the last row of every lead or order, of those that fulfil a condition."""
    newest = f"SELECT max(transaction_id) FROM {table} GROUP BY {key}"
    return f"SELECT * FROM {table} WHERE transaction_id IN ({newest}) AND {condition} ORDER BY transaction_id"


def _highest_number(connection: sqlite3.Connection, table: str, key: str) -> int:
    """Return the highest number in keys such as mrf1-L00000041, 0 without any."""
    (number,) = connection.execute(
        f"SELECT max(CAST(substr({key}, instr({key}, '-') + 2) AS INTEGER)) FROM {table}"
    ).fetchone()
    return int(number or 0)


def _opened(path: Path, stream: Stream, mrf: str, rng: random.Random) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    with connection:
        # One transaction: nobody ever sees a file that is half made.
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'source'").fetchone():
            for statement in filter(str.strip, stream.sqlite_ddl.split(";")):
                connection.execute(statement)
            insert_identity(connection, random_uuid(rng), stream=stream.name, mrf=mrf)
    return connection


def _check(path: Path, stream: Stream, mrf: str) -> None:
    """Raise ConfigurationError if there is a file and it is another bot's, or the other one of the two."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'source'").fetchone():
            return
        found = connection.execute("SELECT DISTINCT stream, mrf FROM source ORDER BY mrf").fetchall()
    if found != [(stream.name, mrf)]:
        owners = ", ".join(f"{owner} ({name})" for name, owner in found)
        raise ConfigurationError(
            f"{path} belongs to {owners}, not to {mrf} ({stream.name}): check MRF and DATA_DIR"
        )


def _insert(stream: Stream) -> str:
    names = [column.name for column in stream.sqlite_columns if column.name != "transaction_id"]
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {stream.name} ({', '.join(names)}) VALUES ({values})"


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _lead(row: sqlite3.Row) -> Lead:
    """Return the lead of a row of either file; a row of nature.db carries its order."""
    keys = row.keys()
    service = row["service"] if "service" in keys else row["product"]
    tariff = next(
        (
            t
            for t in TARIFFS[row["segment"]]
            if t.service == service and t.tariff == dict(row).get("tariff", t.tariff)
        ),
        TARIFFS[row["segment"]][0],
    )
    names = ("lead_id", "client_id", "segment", "manager_id", "manager_name", "branch", "city")
    return Lead(
        shared={name: row[name] for name in names},
        client_name=row["client_name"] if "client_name" in keys else "",
        tariff=tariff,
        is_new=False,
        units=row["units"] if "units" in keys else 1,
        order_id=row["order_id"] if "order_id" in keys else None,
        status=row["status"] if "status" in keys else None,
    )
