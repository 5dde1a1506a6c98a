"""Checks in SQL that keys are unique, and whether a view may change rows that were sent."""

import re
import sqlite3

from crmbot_producer.adopt.mismatch import Mismatch, quoted
from crmbot_producer.adopt.structure import Mapped

_SOURCE_COLUMNS = {"source_id", "stream", "mrf", "schema_version", "starts_after", "lost_up_to"}
_REPEATS = (
    "SELECT count(*), min(id) FROM (SELECT min(transaction_id) AS id FROM {table} WHERE {column} IS NOT NULL "
    "GROUP BY {column} HAVING count(*) > 1)"
)


def key_mismatches(connection: sqlite3.Connection, mapped: Mapped) -> list[Mismatch]:
    """Return the mismatches of transaction_id and event_id over all rows."""
    found = []
    (unsent,) = connection.execute(
        f"SELECT count(*) FROM {mapped.name} WHERE typeof(transaction_id) <> 'integer' OR transaction_id < 1"
    ).fetchone()
    if unsent:
        found.append(
            Mismatch(
                f"transaction_id: no INTEGER from 1 in {unsent} row{'s' if unsent > 1 else ''}, which would "
                "not be sent",
                "let it be the INTEGER PRIMARY KEY of the table, from 1",
            )
        )
    repeats, first = _repeats(connection, mapped, "transaction_id")
    if repeats:
        found.append(
            Mismatch(
                f"transaction_id: {repeats} value{'s' if repeats > 1 else ''} more than once, first {first}",
                "join the other tables by a key of theirs, so that a row of yours stays one row",
            )
        )
    event_repeats, first = _repeats(connection, mapped, "event_id")
    if event_repeats and not repeats:
        found.append(
            Mismatch(
                f"event_id: {event_repeats} value{'s' if event_repeats > 1 else ''} more than once, first "
                f"transaction_id {first}",
                mapped.new_event_ids(),
            )
        )
    return found


def source_mismatches(connection: sqlite3.Connection) -> list[Mismatch]:
    """Return the mismatch of a file whose bot uses a table `source` for something else."""
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
    """Return whether the stream has an identity in the file, or the file belongs to another bot.

    A database may hold both streams: then the other stream's identity does not count.
    """
    if _source_columns(connection) != _SOURCE_COLUMNS:
        return False
    exists = "SELECT 1 FROM sqlite_master WHERE name = :stream COLLATE NOCASE AND type IN ('table', 'view')"
    found = connection.execute(
        f"SELECT 1 FROM source WHERE stream = :stream OR mrf <> :mrf OR NOT EXISTS ({exists})",
        {"stream": stream, "mrf": mrf},
    ).fetchone()
    return found is not None


def notes(connection: sqlite3.Connection, mapped: Mapped) -> list[str]:
    """Return warnings: ways in which sent rows may change, or rows may appear behind them."""
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


def _repeats(connection: sqlite3.Connection, mapped: Mapped, column: str) -> tuple[int, int]:
    count, first = connection.execute(_REPEATS.format(table=mapped.name, column=column)).fetchone()
    return count, first
