"""Finds the rows of a source that a bot's file and the warehouse share, and where the two diverge."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from psycopg import sql

from crmbot_core.contracts import Stream
from crmbot_core.contracts.lenient import fields_of
from crmbot_core.warehouse import Connection
from crmbot_producer.sqlite import Identity
from crmbot_producer.sqlite_page import AS_IT_IS, event_name

_ROWS_FETCHED = 20_000
_REJECTS_FETCHED = 16  # each may be as large as a Kafka message
_BIGGEST = 2**63 - 1

_LOADED = """
    SELECT transaction_id, event_id::text FROM {table}
    WHERE source_id = %s AND transaction_id > %s AND transaction_id <= %s ORDER BY transaction_id
"""
# Only links of the chain are certain to come from the source.
_REJECTED = """
    SELECT transaction_id, message_value FROM crm_bot_rejects
    WHERE topic = %s AND is_link AND source_id = %s AND transaction_id > %s AND transaction_id <= %s
    ORDER BY transaction_id
"""

# transaction_id and event_id of a row; the event_id of a dead letter may be unreadable.
FileRow = tuple[int, str]
WarehouseRow = tuple[int, str | None]


class SharedRows(NamedTuple):
    """How far a file and the warehouse agree on the rows of one identity.

    Attributes:
        conflict: the first transaction_id at which they have different events, None if there is none.
        newest: the newest row before the conflict that both have.
        complete: the newest row of the file up to which the warehouse has all rows.
        behind: the first row after the conflict that both have nevertheless, None if there is none.
    """

    conflict: int | None
    newest: FileRow | None
    complete: FileRow | None
    behind: FileRow | None = None


def compare(
    file_rows: Iterable[FileRow], warehouse_rows: Iterable[WarehouseRow], ceiling: int = _BIGGEST
) -> SharedRows:
    """Merge the rows of one identity of a file and of the warehouse, both in the order of transaction_id.

    Rows that only one side has are no conflict. `complete` does not exceed `ceiling`.
    """
    groups = groupby(warehouse_rows, key=itemgetter(0))
    group = next(groups, None)
    newest: FileRow | None = None
    complete: FileRow | None = None
    is_complete = True
    conflict: int | None = None
    for row in file_rows:
        while group is not None and group[0] < row[0]:
            group = next(groups, None)
        if group is None:
            break
        if group[0] > row[0]:
            is_complete = False
            continue
        events = {event_id for _, event_id in group[1]}
        if conflict is not None:
            if row[1] in events:
                return SharedRows(conflict, newest, complete, row)
            continue
        if row[1] in events:
            newest = row
        elif None not in events:
            conflict = row[0]
            continue
        if is_complete and row[0] <= ceiling:
            complete = row
    return SharedRows(conflict, newest, complete)


def warehouse_rows(
    connection: Connection, stream: Stream, mrf: str, identity: Identity
) -> Iterator[WarehouseRow]:
    """Yield the identity's rows in the order of transaction_id, both loaded rows and dead letters.

    Memory stays bounded. Consume the rows within the caller's transaction.
    """
    bounds = (identity.source_id, identity.starts_after, identity.ends_at)
    loaded = sql.SQL(_LOADED).format(table=sql.Identifier(stream.table(mrf)))
    with connection.cursor(name="loaded") as rows, connection.cursor(name="rejected") as rejects:
        rows.itersize, rejects.itersize = _ROWS_FETCHED, _REJECTS_FETCHED
        rows.execute(loaded, bounds)
        rejects.execute(_REJECTED, (stream.topic(mrf), *bounds))
        rejected = ((transaction_id, event_id_of(value)) for transaction_id, value in rejects)
        yield from heapq.merge(rows, rejected, key=itemgetter(0))


def event_id_of(message: bytes | None) -> str | None:
    """Return a message's event_id in the form of `event_name`; None if it cannot be read."""
    return event_id_in(fields_of(message))


def event_id_in(fields: Mapping[str, Any]) -> str | None:
    """Return the event_id in a message's fields, like `event_id_of`."""
    # A stub's event_id may be truncated.
    event_id = None if "stub" in fields else fields.get("event_id")
    if not isinstance(event_id, str):
        return None
    try:
        return event_name(event_id.encode(errors=AS_IT_IS))
    except UnicodeEncodeError:  # a lone surrogate, which JSON can express
        return None
