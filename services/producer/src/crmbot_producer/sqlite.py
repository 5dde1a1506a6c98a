"""Read-only access to the bot's file."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from crmbot_core.contracts import Stream
from crmbot_core.contracts.digest import digest_of_text
from crmbot_core.contracts.models import SCHEMA_VERSION, UUID_PATTERN
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_producer.sqlite_errors import reading
from crmbot_producer.sqlite_page import AS_IT_IS, PAGE, PARAMETERS, Page, PageQuery, as_bytes, event_name

_BUSY_SECONDS = 5.0


@dataclass(frozen=True)
class Identity:
    """A source_id of the file, which owns the rows with starts_after < transaction_id <= ends_at.

    `lost_up_to` is its newest row that was sent and then lost in a restore, None if none was lost.
    """

    source_id: str
    starts_after: int
    ends_at: int
    lost_up_to: int | None = None


_NO_END = 2**63 - 1
_MESSAGE_BYTES = 1_000_000
_DECODE_ERRORS = "backslashreplace"  # turns invalid UTF-8 into an event_id that the warehouse cannot have
_DIGEST_ROWS = 10_000


class RowDigest(NamedTuple):
    """A row for comparison; `digest` is defined in `crmbot_core.contracts.digest`."""

    transaction_id: int
    event_id: str
    digest: str


class BotFile:
    """A bot's database, opened read-only; for one thread at a time.

    Every method raises:
        TransientError: the file is missing, incomplete or locked; the bot may be about to fix that.
        ConfigurationError: the file belongs to another MRF or stream.
        StoppedError: the file is damaged.
    """

    def __init__(self, path: Path, stream: Stream, mrf: str) -> None:
        self.path = path
        self._stream = stream
        self._mrf = mrf
        try:
            is_file = path.is_file()
        except OSError as error:  # for example, the name is too long
            raise ConfigurationError(f"{path}: {error.strerror}; check DATA_DIR") from error
        if path.parent.is_file() or path.is_dir():
            raise ConfigurationError(f"{path} is not a file: check DATA_DIR")
        if not is_file:
            raise TransientError(f"{path} does not exist (yet): check DATA_DIR, or start the bot")
        with self._errors():
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.text_factory = bytes
            self._inode = path.stat().st_ino
            self._wal_index: int | None = None  # inode of the WAL's index that this connection uses
            self._page_query = PageQuery(stream)
            self._digest_sql = _digest_sql(stream)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see one snapshot; without WAL, the bot cannot commit meanwhile."""
        with self._errors():
            if self._was_replaced():
                raise TransientError(f"{self.path} is not the file that was opened: opening it again")
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with self._errors():
                if self._connection.in_transaction:  # some errors roll it back
                    self._connection.execute("COMMIT")

    def identities(self) -> list[Identity]:
        """Return the file's identities, oldest first; the last one is the present identity."""
        with self._errors():
            rows = self._connection.execute(
                "SELECT source_id, stream, mrf, schema_version, starts_after, lost_up_to "
                "FROM source ORDER BY starts_after, rowid"
            ).fetchall()
        rows = [
            (*(text.decode(errors=AS_IT_IS) for text in (id_, stream, mrf)), *numbers)
            for id_, stream, mrf, *numbers in rows
        ]
        if not rows:
            raise TransientError(f"{self.path} is half made: it has no source_id (yet)")
        # One database may hold both streams; each has its own identities.
        rows = [row for row in rows if row[1] == self._stream.name] or rows
        for source_id, stream, mrf, version, *_ in rows:
            if (stream, mrf, version) != (self._stream.name, self._mrf, SCHEMA_VERSION):
                raise ConfigurationError(
                    f"{self.path} holds {stream} of {mrf}, schema version {version}, not {self._stream.name} "
                    f"of {self._mrf}, version {SCHEMA_VERSION}: check MRF, STREAM and DATA_DIR"
                )
            if not re.fullmatch(UUID_PATTERN, source_id):
                raise ConfigurationError(
                    f"{self.path} does not fit the contract: source_id {source_id!r} is not a lower-case UUID"
                )
        ends = [row[4] for row in rows[1:]] + [_NO_END]
        return [
            Identity(source_id, starts_after, end, lost_up_to)
            for (source_id, *_, starts_after, lost_up_to), end in zip(rows, ends, strict=True)
        ]

    def page(
        self, identity: Identity, after: int, limit: int, max_bytes: int = _MESSAGE_BYTES
    ) -> Page | None:
        """Return the identity's rows with transaction_id > `after`, None if there are none.

        At most `limit` rows, fewer if they are large. A row whose message and key exceed `max_bytes`, or that
        contains a BLOB, becomes a stub.
        """
        parameters = (SCHEMA_VERSION, identity.source_id, self._mrf, after, identity.ends_at, limit)

        def digest_text(transaction_id: int) -> bytes:
            row = (*parameters[:3], transaction_id - 1, transaction_id, 1)
            text: bytes = self._connection.execute(self._digest_sql, row).fetchone()[-1]
            return text

        with self._errors():
            return self._page_query.read(self._connection, parameters, max_bytes, digest_text)

    def digests(self, identity: Identity) -> Iterator[RowDigest]:
        """Yield the digest of each of the identity's rows, in order, with one page in memory."""
        after = identity.starts_after
        while True:
            page = (SCHEMA_VERSION, identity.source_id, self._mrf, after, identity.ends_at, _DIGEST_ROWS)
            with self._errors():
                rows = [
                    RowDigest(transaction_id, event_id.decode(errors=_DECODE_ERRORS), digest_of_text(text))
                    for transaction_id, event_id, text in self._connection.execute(self._digest_sql, page)
                ]
            yield from rows
            if len(rows) < _DIGEST_ROWS:
                return
            after = rows[-1].transaction_id

    def event_ids(self, identity: Identity) -> Iterator[tuple[int, str]]:
        """Yield transaction_id and event_id of the identity's rows, in order, with one page in memory."""
        after = identity.starts_after
        query = (
            f"SELECT transaction_id, {as_bytes('event_id')} FROM {self._stream.name} "
            "WHERE transaction_id > ? AND transaction_id <= ? ORDER BY transaction_id LIMIT ?"
        )
        while True:
            with self._errors():
                rows = self._connection.execute(query, (after, identity.ends_at, _DIGEST_ROWS)).fetchall()
            yield from ((transaction_id, event_name(event_id)) for transaction_id, event_id in rows)
            if len(rows) < _DIGEST_ROWS:
                return
            after = rows[-1][0]

    def row_json(self, identity: Identity, transaction_id: int) -> bytes | None:
        """Return a row's message without the chain's fields, None if the row or message does not exist."""
        row = (SCHEMA_VERSION, identity.source_id, self._mrf, transaction_id - 1, transaction_id, 1)
        with self._errors():
            message = self._page_query.message(self._connection, row)
        return None if message is None else b"{" + message

    def event_id(self, transaction_id: int) -> str | None:
        """Return a row's event_id in the form of `sqlite_page.event_name`, None if there is no such row."""
        with self._errors():
            row = self._connection.execute(
                f"SELECT {as_bytes('event_id')} FROM {self._stream.name} WHERE transaction_id = ?",
                (transaction_id,),
            ).fetchone()
        return None if row is None else event_name(row[0])

    def count(self, up_to: int) -> int:
        """Return the number of rows with transaction_id <= `up_to`."""
        with self._errors():
            row = self._connection.execute(
                f"SELECT count(*) FROM {self._stream.name} WHERE transaction_id <= ?", (up_to,)
            ).fetchone()
        return int(row[0])

    def newest_id(self) -> int:
        """Return the greatest transaction_id, 0 if there are no rows."""
        with self._errors():
            row = self._connection.execute(
                f"SELECT transaction_id FROM {self._stream.name} ORDER BY transaction_id DESC LIMIT 1"
            ).fetchone()
        return int(row[0] or 0) if row else 0

    def _was_replaced(self) -> bool:
        """Return whether the file was replaced, or overwritten by a copy and its WAL removed.

        SQLite never removes the WAL's index while a connection is open. If somebody else does, this
        connection keeps the old one, in which newer rows never appear.
        """
        try:
            if self.path.stat().st_ino != self._inode:
                return True
        except FileNotFoundError:
            return True
        try:
            index = self.path.with_name(f"{self.path.name}-shm").stat().st_ino
        except FileNotFoundError:
            index = None
        if self._wal_index is None:
            self._wal_index = index
        return index != self._wal_index

    def _errors(self) -> AbstractContextManager[None]:
        return reading(self.path)


def _digest_sql(stream: Stream) -> str:
    fields = " || char(31) || ".join(
        PARAMETERS.get(column.name, f"coalesce({column.name}, '')") for column in stream.row_columns
    )
    return f"SELECT transaction_id, {as_bytes('event_id')}, {fields} FROM {stream.name} {PAGE}"
