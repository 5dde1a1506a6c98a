"""Pages of rows: read in one step, or row by row if Kafka cannot carry one of them."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from crmbot_core.contracts import Stream
from crmbot_core.contracts.digest import digest_of_text

Reason = Literal["too_large", "not_text"]

# Invalid UTF-8 passes through unchanged; the consumer decides.
AS_IT_IS = "surrogateescape"
# Per-file constants, bound as parameters.
PARAMETERS = {"schema_version": "?1", "source_id": "?2", "mrf": "?3"}
PAGE = "WHERE transaction_id > ?4 AND transaction_id <= ?5 ORDER BY transaction_id LIMIT ?6"
_PAGE_BYTES = 16 * 1024 * 1024  # limit of a page read row by row
_ROW_BYTES = 3 * 1024  # limit per row of a page read in one step; only unusual rows exceed it
_NO_LIMIT = 2**63 - 1
_LONGEST_KEY = 1024
_LONGEST_EVENT_ID = 200


class Page(NamedTuple):
    """Rows in the order of transaction_id.

    Attributes:
        ids: transaction_ids as decimal digits.
        leads: each row's lead_id, which determines its partition.
        keys: the messages' keys: the leads, or None if a lead is too long for the key of a stub.
        messages: JSON without its opening brace, to be prefixed with the chain's fields.
        last_id: transaction_id of the last row.
        last_event_id: its event_id, in the form of `event_name`.
        not_carried: why a stub replaces a row, by transaction_id.
    """

    ids: Sequence[bytes]
    leads: Sequence[bytes]
    keys: Sequence[bytes | None]
    messages: Sequence[bytes]
    last_id: int
    last_event_id: str
    not_carried: Mapping[int, Reason]


# Values of PARAMETERS and PAGE.
_Parameters = tuple[int, str, str, int, int, int]


class PageQuery:
    """The two queries of a stream's pages; both take the parameters of PARAMETERS and PAGE."""

    def __init__(self, stream: Stream) -> None:
        self._at_once = _at_once_sql(stream)
        self._single_rows = _single_rows_sql(stream)
        self._event_id = f"SELECT {as_bytes('event_id')} FROM {stream.name} WHERE transaction_id = ?"

    def read(
        self,
        connection: sqlite3.Connection,
        parameters: _Parameters,
        max_bytes: int,
        digest_text: Callable[[int], bytes],
    ) -> Page | None:
        """Return a page, None if there are no rows.

        Args:
            connection: the file, with bytes as text_factory.
            parameters: values of PARAMETERS and PAGE.
            max_bytes: a row becomes a stub if its message and key exceed this.
            digest_text: returns the input of a row's digest, by transaction_id.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        try:
            page = self._read_at_once(connection, parameters, max_bytes)
        except (sqlite3.DataError, sqlite3.OperationalError) as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG):
                raise
            page = None
        return page or self._read_single_rows(connection, parameters, max_bytes, digest_text)

    def message(self, connection: sqlite3.Connection, parameters: _Parameters) -> bytes | None:
        """Return the message of a page's first row, whatever its size; None if there is none."""
        row = connection.execute(self._single_rows, (*parameters, _NO_LIMIT)).fetchone()
        return None if row is None else row[-1]

    def _read_at_once(
        self, connection: sqlite3.Connection, parameters: _Parameters, max_bytes: int
    ) -> Page | None:
        """Return a page that has only plain rows, otherwise None; None also if there are no rows."""
        longest = max(_PAGE_BYTES, parameters[-1] * _ROW_BYTES)
        before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        try:
            row = connection.execute(self._at_once, parameters).fetchone()
            if row[0] is None:
                return None
            (event_id,) = connection.execute(self._event_id, row[:1]).fetchone()
        finally:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
        last_id, message_bytes, joined_ids, joined_leads, joined_messages = row
        ids, leads, messages = joined_ids.split(b","), joined_leads.split(b"\n"), joined_messages.split(b"\n")
        # A lead is no longer than its message. A line feed has split a lead in two.
        if 2 * message_bytes > max_bytes or not len(ids) == len(leads) == len(messages):
            return None
        return Page(ids, leads, leads, messages, last_id, event_name(event_id), {})

    def _read_single_rows(
        self,
        connection: sqlite3.Connection,
        parameters: _Parameters,
        max_bytes: int,
        digest_text: Callable[[int], bytes],
    ) -> Page | None:
        ids: list[bytes] = []
        leads: list[bytes] = []
        keys: list[bytes | None] = []
        messages: list[bytes] = []
        not_carried: dict[int, Reason] = {}
        size = 0
        for transaction_id, event_id, lead, reason, message in connection.execute(
            self._single_rows, (*parameters, max_bytes)
        ):
            if reason is None and len(message) + len(lead) > max_bytes:
                reason = b"too_large"
            if reason is not None:
                not_carried[transaction_id] = reason.decode()
                message = stub(
                    transaction_id, parameters[1], event_id, reason.decode(), digest_text(transaction_id)
                )
            ids.append(b"%d" % transaction_id)
            leads.append(lead)
            keys.append(lead if reason is None or len(lead) <= _LONGEST_KEY else None)
            messages.append(message)
            size += len(message) + len(lead)
            if size >= _PAGE_BYTES:
                break
        if not ids:
            return None
        return Page(ids, leads, keys, messages, transaction_id, event_name(event_id), not_carried)


def event_name(event_id: bytes) -> str:
    """Return an event_id in the form kept in source offsets: itself, or its digest if it is long."""
    if len(event_id) > _LONGEST_EVENT_ID:
        return f"md5 {digest_of_text(event_id)}"
    return event_id.decode(errors=AS_IT_IS)


def as_bytes(column: str) -> str:
    """Return the SQL of a value as bytes: a view of a bot's own tables may have NULL or a number."""
    return f"coalesce(CAST({column} AS BLOB), x'')"


def stub(transaction_id: int, source_id: str, event_id: bytes, reason: Reason, digest_text: bytes) -> bytes:
    """Return the `Stub` of a row in the form of `Page.messages`."""
    fields = {
        "transaction_id": transaction_id,
        "source_id": source_id,
        "event_id": event_id[:_LONGEST_EVENT_ID].decode(errors="replace"),
        "stub": reason,
        "size": len(digest_text),
        "digest": digest_of_text(digest_text),
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)[1:].encode()


def _at_once_sql(stream: Stream) -> str:
    """Return the query of a page as one row, which SQLite builds in one step while other threads run.

    Line feeds separate the messages, because JSON escapes them.
    """
    return (
        "SELECT max(transaction_id), max(length(message)), group_concat(transaction_id), "
        "group_concat(coalesce(lead_id, ''), char(10)), group_concat(message, char(10)) FROM ("
        f"SELECT transaction_id, lead_id, {_message(stream)} AS message FROM {stream.name} {PAGE})"
    )


def _single_rows_sql(stream: Stream) -> str:
    """Return the query of rows with their JSON, or the reason for a stub."""
    names = [column.name for column in stream.sqlite_columns]
    is_blob = f"'blob' IN ({', '.join(f'typeof({name})' for name in names)})"
    size = " + ".join(f"coalesce(length(CAST({name} AS BLOB)), 0)" for name in names)
    reason = f"CASE WHEN {is_blob} THEN 'not_text' WHEN {size} > ?7 THEN 'too_large' END"
    return (
        f"SELECT transaction_id, {as_bytes('event_id')}, {as_bytes('lead_id')}, reason, "
        f"CASE WHEN reason IS NULL THEN {_message(stream)} END "
        f"FROM (SELECT {', '.join(names)}, {reason} AS reason FROM {stream.name} {PAGE})"
    )


def _message(stream: Stream) -> str:
    """Return the SQL of a row's message in the form of `Page.messages`.

    A BLOB, because substr and length are fast on it: on a text they count characters.
    """
    fields = ", ".join(f"'{c.name}', {PARAMETERS.get(c.name, c.name)}" for c in stream.row_columns)
    return f"substr(CAST(json_object({fields}) AS BLOB), 2)"
