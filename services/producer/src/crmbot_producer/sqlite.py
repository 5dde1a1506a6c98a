"""The bot's file, read-only."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import NamedTuple

from crmbot_core.contracts import Stream
from crmbot_core.contracts.models import SCHEMA_VERSION
from crmbot_core.errors import ConfigurationError, StoppedError, TransientError
from crmbot_producer.watermark import Watermark

_BUSY_SECONDS = 5.0


@dataclass(frozen=True)
class Identity:
    """A source_id of the file and the rows that are its own: starts_after < transaction_id <= ends_at."""

    source_id: str
    starts_after: int
    ends_at: int


class Page(NamedTuple):
    """Rows in the order of transaction_id as they are sent, keys and messages (JSON), and their watermark."""

    keys: list[bytes]
    messages: list[bytes]
    watermark: Watermark


_NO_END = 2**63 - 1
_AS_IT_IS = "surrogateescape"
_DIGEST_ROWS = 10_000


class RowDigest(NamedTuple):
    """A row for comparison: `digest` is the md5 of `digest_text`, in SQLite as in the warehouse."""

    transaction_id: int
    event_id: str
    digest: str


class BotFile:
    """One database of a bot, opened read-only; for one thread at a time.

    Raises everywhere:
        TransientError: the file is missing, half made or locked; the bot may be about to put that right.
        ConfigurationError: the file belongs to another MRF or stream.
        StoppedError: the file is damaged.
    """

    def __init__(self, path: Path, stream: Stream, mrf: str) -> None:
        self.path = path
        self._stream = stream
        self._mrf = mrf
        try:
            is_file = path.is_file()
        except OSError as error:  # such as a name that is too long
            raise ConfigurationError(f"{path}: {error.strerror}; check DATA_DIR") from error
        if path.parent.is_file() or path.is_dir():
            raise ConfigurationError(f"{path} cannot be a file: check DATA_DIR")
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
            self._page_sql = _page_sql(stream)
            self._digest_sql = _digest_sql(stream)

    def close(self) -> None:
        self._connection.close()

    def identities(self) -> list[Identity]:
        """Return the file's identities, oldest first; the last one is the present one."""
        with self._errors():
            rows = self._connection.execute(
                "SELECT source_id, stream, mrf, schema_version, starts_after "
                "FROM source ORDER BY starts_after"
            ).fetchall()
        rows = [
            (id_.decode(), stream.decode(), mrf.decode(), version, after)
            for id_, stream, mrf, version, after in rows
        ]
        if not rows:
            raise TransientError(f"{self.path} is half made: it has no source_id (yet)")
        for _, stream, mrf, version, _ in rows:
            if (stream, mrf, version) != (self._stream.name, self._mrf, SCHEMA_VERSION):
                raise ConfigurationError(
                    f"{self.path} holds {stream} of {mrf}, schema version {version}, not {self._stream.name} "
                    f"of {self._mrf}, version {SCHEMA_VERSION}: check MRF, STREAM and DATA_DIR"
                )
        ends = [row[4] for row in rows[1:]] + [_NO_END]
        return [Identity(row[0], row[4], end) for row, end in zip(rows, ends, strict=True)]

    def page(self, identity: Identity, after: int, limit: int) -> Page | None:
        """Return up to `limit` rows of the identity with transaction_id > `after`, None if there are none."""
        with self._errors():
            if self._was_replaced():
                raise TransientError(f"{self.path} is not the file that was opened: opening it again")
            last_id, last_event_id, lead_ids, messages = self._connection.execute(
                self._page_sql,
                (SCHEMA_VERSION, identity.source_id, self._mrf, after, identity.ends_at, limit),
            ).fetchone()
        if last_id is None:
            return None
        # The bot's bytes stay what they are, UTF-8 or not: the consumer decides about them.
        keys = [key.encode(errors=_AS_IT_IS) for key in json.loads(lead_ids.decode(errors=_AS_IT_IS))]
        watermark = Watermark(identity.source_id, last_id, last_event_id.decode())
        return Page(keys, messages.split(b"\n"), watermark)

    def digests(self, identity: Identity, up_to: int) -> Iterator[RowDigest]:
        """Yield a digest of each of the identity's rows up to `up_to`, in order, with one page in memory."""
        after = identity.starts_after
        end = min(up_to, identity.ends_at)
        while True:
            with self._errors():
                rows = self._connection.execute(
                    self._digest_sql,
                    (SCHEMA_VERSION, identity.source_id, self._mrf, after, end, _DIGEST_ROWS),
                ).fetchall()
            for transaction_id, event_id, text in rows:
                digest = md5(text, usedforsecurity=False).hexdigest()
                yield RowDigest(transaction_id, event_id.decode(), digest)
            if len(rows) < _DIGEST_ROWS:
                return
            after = rows[-1][0]

    def event_id(self, transaction_id: int) -> str | None:
        """Return the event_id of a row, or None if there is no such row."""
        with self._errors():
            row = self._connection.execute(
                f"SELECT event_id FROM {self._stream.name} WHERE transaction_id = ?", (transaction_id,)
            ).fetchone()
        return None if row is None else row[0].decode()

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
            row = self._connection.execute(f"SELECT max(transaction_id) FROM {self._stream.name}").fetchone()
        return int(row[0] or 0)

    def _was_replaced(self) -> bool:
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_ERROR and "no such table" in str(error):
                raise TransientError(f"{self.path} is half made: {error} (yet)") from error
            if code == sqlite3.SQLITE_ERROR:
                raise ConfigurationError(f"{self.path} does not fit the contract: {error}") from error
            raise TransientError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoppedError(
                f"{self.path} is damaged: {error}; restore it from a backup, then start the producer again"
            ) from error


# What the rows of a file have in common is not in its rows.
_PARAMETERS = {"schema_version": "?1", "source_id": "?2", "mrf": "?3"}
_PAGE = "WHERE transaction_id > ?4 AND transaction_id <= ?5 ORDER BY transaction_id LIMIT ?6"


def _page_sql(stream: Stream) -> str:
    """Return the query of a page as one row, so that SQLite makes it in one step while other threads run.

    JSON has no bare line feed, so line feeds part the messages. A bare column beside max() is of the row that
    has the maximum.
    """
    fields = ", ".join(f"'{name}', {_PARAMETERS.get(name, name)}" for name in stream.column_names)
    return (
        "SELECT max(transaction_id), event_id, json_group_array(lead_id), "
        "group_concat(message, char(10)) FROM ("
        f"SELECT transaction_id, event_id, lead_id, json_object({fields}) AS message "
        f"FROM {stream.name} {_PAGE})"
    )


def _digest_sql(stream: Stream) -> str:
    fields = " || char(31) || ".join(
        f"coalesce({name}, '')" if column.nullable else _PARAMETERS.get(name, name)
        for name, column in zip(stream.column_names, stream.columns, strict=True)
    )
    return f"SELECT transaction_id, event_id, {fields} FROM {stream.name} {_PAGE}"
