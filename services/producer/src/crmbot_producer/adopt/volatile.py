"""Columns of a view that are computed from chance or from the clock: they differ each time a row is read."""

import re
import sqlite3

from crmbot_core.contracts import Stream
from crmbot_producer.adopt.mismatch import Mismatch
from crmbot_producer.adopt.structure import Mapped

_CHANCE = re.compile(r"(random|randomblob|changes|total_changes|last_insert_rowid)\(")
_CLOCK = re.compile(r"current_(timestamp|date|time)\(")
_DATES = re.compile(r"(strftime|datetime|date|time|julianday|unixepoch)\(")


def volatile_mismatches(connection: sqlite3.Connection, stream: Stream, mapped: Mapped) -> list[Mismatch]:
    """Return a mismatch for each column whose value is not stored, by the functions that SQLite calls."""
    if source := _volatile(connection, stream.name, "1"):
        return [
            Mismatch(
                f"{stream.name}: its condition is computed from {source}, so rows appear behind others that "
                "were sent, and are never sent",
                "leave the condition out",
            )
        ]
    found = []
    for column in stream.sqlite_columns:
        if not (source := _volatile(connection, stream.name, column.name)):
            continue
        mend = (
            mapped.new_event_ids()
            if column.name == "event_id" and mapped.id_table
            else f"have the bot store it with the row, and in the view: the stored value AS {column.name}"
        )
        found.append(
            Mismatch(f"{column.name}: computed from {source}, so it differs each time a row is read", mend)
        )
    return found


def _volatile(connection: sqlite3.Connection, view: str, column: str) -> str | None:
    program = connection.execute(f"EXPLAIN SELECT {column} FROM {view}").fetchall()
    functions = [step[5] for step in program if step[1] in ("Function", "PureFunc")]
    literals = {str(step[5]).lower() for step in program if step[1] == "String8"}
    if any(map(_CHANCE.match, functions)):
        return "chance"
    if any(map(_CLOCK.match, functions)) or ("now" in literals and any(map(_DATES.match, functions))):
        return "the present time"
    return None
