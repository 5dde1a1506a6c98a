"""Adds identities to the bot's file: the only write to it, and only on an explicit command."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from crmbot_core.contracts.source_table import SOURCE_DDL, insert_identity
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_producer.settings import FileSettings, RecoverySettings
from crmbot_producer.shared_rows import FileRow
from crmbot_producer.sqlite import Identity
from crmbot_producer.sqlite_page import as_bytes, event_name

_BUSY_SECONDS = 30.0
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


class Former(NamedTuple):
    """An identity that the file had after the copy was taken.

    Attributes:
        sent_up_to: the newest row sent under it.
        shared: its last row that file and warehouse share, None if they share none.
    """

    sent_up_to: int
    shared: FileRow | None = None


class Plan(NamedTuple):
    """The planned change of the file.

    Attributes:
        present: the identity that ends.
        shared: its last row that file and warehouse share, None if they share none.
        sent_up_to: the newest row sent under it.
        former: by source_id, identities to add between it and the new one, in the order of their rows.
    """

    present: Identity
    shared: FileRow | None
    sent_up_to: int
    former: Mapping[str, Former]

    @property
    def ends_at(self) -> int:
        """The last row of the present identity."""
        return self.shared[0] if self.shared else self.present.starts_after

    @property
    def starts_after(self) -> int:
        """The transaction_id after which rows belong to the new identity."""
        return max([self.ends_at, *(former.shared[0] for former in self.former.values() if former.shared)])


def add_identity(settings: RecoverySettings, plan: Plan) -> None:
    """Write the new identity to the bot's file, unless the file has changed since the plan was made.

    Raises:
        ConfigurationError: the file cannot be written.
        TransientError: the file is busy, or has changed meanwhile.
    """
    path = settings.database
    with _writing(path) as connection:
        if not _matches_plan(connection, settings.stream, plan):
            raise TransientError(f"{path} has changed meanwhile; nothing is changed: run this again")
        connection.execute(
            "UPDATE source SET lost_up_to = max(coalesce(lost_up_to, 0), ?) WHERE source_id = ?",
            (plan.sent_up_to, plan.present.source_id),
        )
        starts_after = plan.ends_at
        for source_id, former in (*plan.former.items(), (str(uuid4()), None)):
            insert_identity(
                connection,
                source_id,
                stream=settings.stream,
                mrf=settings.mrf,
                starts_after=starts_after,
                lost_up_to=former.sent_up_to if former else None,
            )
            starts_after = former.shared[0] if former and former.shared else starts_after


def make_source(settings: FileSettings) -> str:
    """Add the first identity, which owns all rows, to a file that has none, and return its source_id.

    Raises the errors of `add_identity`.
    """
    path, source_id = settings.database, str(uuid4())
    with _writing(path) as connection:
        if not connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'source' COLLATE NOCASE"
        ).fetchone():
            connection.execute(SOURCE_DDL)
        if connection.execute("SELECT 1 FROM source WHERE stream = ?", (settings.stream,)).fetchone():
            raise TransientError(f"{path} has changed meanwhile; nothing is changed: run this again")
        insert_identity(connection, source_id, stream=settings.stream, mrf=settings.mrf)
    return source_id


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for writing, in one transaction."""
    try:
        with (
            closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
            ) as connection,
            connection,
        ):
            connection.execute("BEGIN IMMEDIATE")
            yield connection
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _NOT_WRITABLE:
            raise ConfigurationError(
                f"{path}: {error}; nothing is changed. It has to be writable, and so has its folder"
            ) from error
        raise TransientError(f"{path}: {error}; nothing is changed: run this again") from error


def _matches_plan(connection: sqlite3.Connection, table: str, plan: Plan) -> bool:
    (present,) = connection.execute(
        "SELECT source_id FROM source WHERE stream = ? ORDER BY starts_after DESC, rowid DESC LIMIT 1",
        (table,),
    ).fetchone()
    if present != plan.present.source_id or plan.shared is None:
        return bool(present == plan.present.source_id)
    row = connection.execute(
        f"SELECT {as_bytes('event_id')} FROM {table} WHERE transaction_id = ?", plan.shared[:1]
    ).fetchone()
    return row is not None and event_name(row[0]) == plan.shared[1]
