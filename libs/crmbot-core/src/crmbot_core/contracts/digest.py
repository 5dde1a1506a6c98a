"""The digest of a row, equal in the bot's file, a message and the warehouse, so that copies are recognised.

It is the md5 of the values of `Stream.row_columns` as text, separated by U+001F, with NULL as empty text.
"""

from collections.abc import Iterable
from hashlib import md5

from psycopg import sql

from crmbot_core.contracts.streams import Column, Stream

SEPARATOR = b"\x1f"


def digest(values: Iterable[bytes]) -> str:
    """Return the digest of a row's values in the order of `Stream.row_columns`."""
    return digest_of_text(SEPARATOR.join(values))


def digest_of_text(text: bytes) -> str:
    """Return the digest of values that are already joined."""
    return md5(text, usedforsecurity=False).hexdigest()


def warehouse_digest(stream: Stream) -> sql.Composed:
    """Return the SQL expression of the digest of a row in the stream's table."""
    return sql.SQL("md5(concat_ws(chr(31), {}))").format(
        sql.SQL(", ").join(map(_as_text, stream.row_columns))
    )


def _as_text(column: Column) -> sql.Composable:
    """Return the SQL of a value as text; a value outside the contract never equals the text of a valid one.

    Such values are microseconds, and the empty text, which must not pass for NULL.
    """
    name = sql.Identifier(column.name)
    if column.name in ("occurred_at", "recorded_at"):
        return sql.SQL(
            "replace(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), '000Z', 'Z')"
        ).format(name)
    if column.nullable:
        return sql.SQL("CASE {} WHEN '' THEN chr(31) ELSE coalesce({}, '') END").format(name, name)
    return sql.SQL("{}::text").format(name)
