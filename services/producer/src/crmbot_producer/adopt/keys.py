"""Whether rows can be told apart, and what a view may do to rows that were sent: seen by SQL alone."""

import re
import sqlite3

from crmbot_producer.adopt.mismatch import Mismatch, quoted
from crmbot_producer.adopt.structure import Mapped

_SOURCE_COLUMNS = {"source_id", "stream", "mrf", "schema_version", "starts_after", "lost_up_to"}
_DOUBLE = (
    "SELECT count(*), min(id) FROM (SELECT min(transaction_id) AS id FROM {table} WHERE {column} IS NOT NULL "
    "GROUP BY {column} HAVING count(*) > 1)"
)


def key_mismatches(connection: sqlite3.Connection, mapped: Mapped) -> list[Mismatch]:
    """Return what is wrong with transaction_id and event_id over all rows."""
    found = []
    (unread,) = connection.execute(
        f"SELECT count(*) FROM {mapped.name} WHERE typeof(transaction_id) <> 'integer' OR transaction_id < 1"
    ).fetchone()
    if unread:
        found.append(
            Mismatch(
                f"transaction_id: no INTEGER from 1 in {unread} row{'s' if unread > 1 else ''}, which would "
                "not be sent",
                "let it be the INTEGER PRIMARY KEY of the table, from 1",
            )
        )
    doubled, first = _doubled(connection, mapped, "transaction_id")
    if doubled:
        found.append(
            Mismatch(
                f"transaction_id: {doubled} value{'s' if doubled > 1 else ''} more than once, first {first}",
                "join the other tables by a key of theirs, so that a row of yours stays one row",
            )
        )
    doubled_events, first = _doubled(connection, mapped, "event_id")
    if doubled_events and not doubled:
        found.append(
            Mismatch(
                f"event_id: {doubled_events} value{'s' if doubled_events > 1 else ''} more than once, first "
                f"transaction_id {first}",
                mapped.new_event_ids(),
            )
        )
    return found


def source_mismatches(connection: sqlite3.Connection) -> list[Mismatch]:
    """Return the mismatch of a file whose bot has a table `source` for something else."""
    kind = connection.execute(
        "SELECT type FROM sqlite_master WHERE name = 'source' COLLATE NOCASE"
    ).fetchone()
    if kind is None or _source_columns(connection) == _SOURCE_COLUMNS:
        return []
    rename = "ALTER TABLE source RENAME TO bot_source;" if kind == ("table",) else "give it another name"
    return [
        Mismatch(f"source: the bot has a {kind[0]} of this name, and the file's identities need it", rename)
    ]


def has_identity(connection: sqlite3.Connection, stream: str, mrf: str) -> bool:
    """Tell whether the stream has an identity in the file, or the file is another bot's altogether.

    A database may hold both streams: then the other one's identity alone says nothing.
    """
    if _source_columns(connection) != _SOURCE_COLUMNS:
        return False
    is_there = "SELECT 1 FROM sqlite_master WHERE name = :stream COLLATE NOCASE AND type IN ('table', 'view')"
    found = connection.execute(
        f"SELECT 1 FROM source WHERE stream = :stream OR mrf <> :mrf OR NOT EXISTS ({is_there})",
        {"stream": stream, "mrf": mrf},
    ).fetchone()
    return found is not None


def notes(connection: sqlite3.Connection, mapped: Mapped) -> list[str]:
    """Return what is no mismatch, but makes rows that were sent change, or others appear behind them."""
    found = []
    if mapped.other_tables:
        found.append(
            f"{mapped.name} reads {', '.join(mapped.other_tables)} besides: a change there changes rows "
            "that were sent, and the audit names them"
        )
    (view,) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
        (mapped.name,),
    ).fetchone()
    if mapped.is_view and re.search(r"\bWHERE\b", view, re.IGNORECASE):
        found.append(
            f"{mapped.name} has a condition: a row that fulfils it only later, behind rows that were sent, "
            "is never sent"
        )
    if mapped.is_view and mapped.id_table:
        (hidden,) = connection.execute(
            f"SELECT (SELECT count(*) FROM {quoted(mapped.id_table)}) - (SELECT count(*) FROM {mapped.name})"
        ).fetchone()
        if hidden > 0:
            found.append(
                f"{mapped.name} leaves out {hidden} row{'s' if hidden > 1 else ''} of {mapped.id_table}: one "
                "that appears later, behind rows that were sent, is never sent"
            )
    return found


def _source_columns(connection: sqlite3.Connection) -> set[str]:
    return {row[1] for row in connection.execute("PRAGMA table_info(source)")}


def _doubled(connection: sqlite3.Connection, mapped: Mapped, column: str) -> tuple[int, int]:
    count, first = connection.execute(_DOUBLE.format(table=mapped.name, column=column)).fetchone()
    return count, first
