"""The `source` table of a bot's file: the identities that the file has had.

They stand in the order of `starts_after`, then of insertion: rows with a `transaction_id` above
`starts_after`, up to the next identity's, belong to it. `lost_up_to` is the newest row that was sent under an
identity before a restore took it away, NULL where none was lost (see `crmbot-producer new-source`).
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
    """Add an identity; by default the first one of a file, to which all rows belong."""
    connection.execute(
        "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?)",
        (source_id, stream, mrf, SCHEMA_VERSION, starts_after, lost_up_to),
    )
