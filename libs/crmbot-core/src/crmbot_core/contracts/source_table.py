"""The `source` table of a bot's file: all identities of the file, past and current.

They are ordered by `starts_after`, then by insertion. An identity owns the rows with a `transaction_id` above
its `starts_after`, up to that of the next identity. `lost_up_to` is the newest row that was sent under an
identity and then lost in a restore, NULL if none was lost (see `crmbot-producer new-source`).
"""

import sqlite3

from crmbot_core.contracts.models import SCHEMA_VERSION

SOURCE_DDL = (
    "CREATE TABLE source (source_id TEXT PRIMARY KEY, stream TEXT NOT NULL, mrf TEXT NOT NULL, "
    "schema_version INTEGER NOT NULL, starts_after INTEGER NOT NULL, lost_up_to INTEGER)"
)


def insert_identity(
    connection: sqlite3.Connection,
    source_id: str,
    *,
    stream: str,
    mrf: str,
    starts_after: int = 0,
    lost_up_to: int | None = None,
) -> None:
    """Add an identity; by default the first one of a file, which owns all rows."""
    connection.execute(
        "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?)",
        (source_id, stream, mrf, SCHEMA_VERSION, starts_after, lost_up_to),
    )
