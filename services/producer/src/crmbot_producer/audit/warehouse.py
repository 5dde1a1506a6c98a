"""What the audit asks the warehouse, in one snapshot."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from crmbot_core.contracts import Column, Stream
from crmbot_core.settings import WarehouseSettings
from crmbot_core.warehouse import Connection, connect, translated_errors
from crmbot_producer.sqlite import Identity, RowDigest

_FETCH_ROWS = 20_000
_REJECTS = """
    SELECT r.message_value FROM crm_bot_rejects r
    LEFT JOIN crm_bot_replays p
           ON p.topic = r.topic AND p.kafka_partition = r.kafka_partition AND p.kafka_offset = r.kafka_offset
    WHERE r.topic = %s AND p.topic IS NULL
"""
# Rows of a lead that arrived in another order than they were committed in. A replayed row is late by intent.
_DISORDER = """
    SELECT count(*) FROM (
        SELECT kafka_partition, kafka_offset, loaded_at,
               lag(kafka_partition) OVER lead AS previous_partition,
               lag(kafka_offset) OVER lead AS previous_offset,
               lag(loaded_at) OVER lead AS previous_loaded_at
        FROM {table} t
        WHERE NOT EXISTS (
            SELECT 1 FROM crm_bot_replays p
            WHERE p.topic = %s AND p.kafka_partition = t.kafka_partition AND p.kafka_offset = t.kafka_offset
        )
        WINDOW lead AS (PARTITION BY source_id, lead_id ORDER BY transaction_id)
    ) rows_of_leads
    WHERE (kafka_partition = previous_partition AND kafka_offset <= previous_offset)
       OR (kafka_partition <> previous_partition AND loaded_at < previous_loaded_at)
"""
_BROKEN_LINKS = """
    SELECT count(*) FROM (
        SELECT start_offset, lag(end_offset, 1, 0::bigint) OVER (
            PARTITION BY kafka_partition ORDER BY start_offset
        ) AS previous_end
        FROM crm_bot_ledger WHERE topic = %s
    ) chain
    WHERE start_offset <> previous_end
"""
_LEDGER_ROWS = """
    SELECT coalesce(sum(rows_loaded), 0)::bigint, coalesce(sum(rows_rejected), 0)::bigint,
           coalesce(sum(rows_duplicate), 0)::bigint
    FROM crm_bot_ledger WHERE topic = %s
"""


class AuditedTable:
    """The warehouse's side of one stream of one MRF."""

    def __init__(self, connection: Connection, stream: Stream, mrf: str) -> None:
        self._connection = connection
        self._topic = stream.topic(mrf)
        self._table = sql.Identifier(stream.table(mrf))
        self._digest = sql.SQL("md5(concat_ws(chr(31), {}))").format(
            sql.SQL(", ").join(_as_in_file(column) for column in stream.columns)
        )

    def digests(self, identity: Identity, up_to: int) -> Iterator[RowDigest]:
        """Yield the rows of one source up to `up_to` in the order of transaction_id; memory stays bounded."""
        query = sql.SQL(
            "SELECT transaction_id, event_id::text, {digest} FROM {table} "
            "WHERE source_id = %s AND transaction_id <= %s ORDER BY transaction_id"
        ).format(digest=self._digest, table=self._table)
        with self._connection.cursor(name="audit") as cursor:
            cursor.itersize = _FETCH_ROWS
            for transaction_id, event_id, digest in cursor.execute(query, (identity.source_id, up_to)):
                yield RowDigest(transaction_id, event_id, digest)

    def rows_lost_by_restoring(self, identity: Identity) -> int:
        """Return the number of rows that the source had beyond the end that a restored file gave it."""
        query = sql.SQL("SELECT count(*) FROM {} WHERE source_id = %s AND transaction_id > %s").format(
            self._table
        )
        return self._count(query, identity.source_id, identity.ends_at)

    def rows_by_source(self) -> dict[str, int]:
        """Return the number of rows of each source_id."""
        query = sql.SQL("SELECT source_id::text, count(*) FROM {} GROUP BY source_id").format(self._table)
        return dict(self._connection.execute(query).fetchall())

    def rejected_ids(self) -> dict[str, set[int]]:
        """Return transaction ids by source_id of the rejects that say so and were not replayed."""
        found: dict[str, set[int]] = {}
        for (value,) in self._connection.execute(_REJECTS, (self._topic,)):
            try:
                message = json.loads(value)
                found.setdefault(str(message["source_id"]), set()).add(int(message["transaction_id"]))
            except (ValueError, TypeError, KeyError):
                continue
        return found

    def rows_in_ledger(self) -> tuple[int, int, int]:
        """Return the ledger's sums: loaded, rejected, duplicates dropped."""
        row = self._connection.execute(_LEDGER_ROWS, (self._topic,)).fetchone()
        loaded, rejected, duplicates = row or (0, 0, 0)
        return loaded, rejected, duplicates

    def replayed(self) -> int:
        return self._count(sql.SQL("SELECT count(*) FROM crm_bot_replays WHERE topic = %s"), self._topic)

    def broken_links(self) -> int:
        """Return the number of ledger rows that do not start where the one before them ended."""
        return self._count(sql.SQL(_BROKEN_LINKS), self._topic)

    def disordered(self) -> int:
        """Return the number of rows that arrived before an earlier row of their lead."""
        return self._count(sql.SQL(_DISORDER).format(table=self._table), self._topic)

    def _count(self, query: sql.SQL | sql.Composed, *parameters: object) -> int:
        row = self._connection.execute(query, parameters).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def snapshot(settings: WarehouseSettings) -> Iterator[Connection]:
    """Connect and hold one snapshot, so that all figures are of the same moment."""
    with connect(settings) as connection, translated_errors():
        connection.execute("SET work_mem = '256MB'")
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection


def _as_in_file(column: Column) -> sql.Composable:
    """Return the SQL that gives a column's value as the text that the bot's file holds."""
    name = sql.Identifier(column.name)
    if column.name in ("occurred_at", "recorded_at"):
        return sql.SQL("to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')").format(name)
    return sql.SQL("coalesce({}, '')").format(name) if column.nullable else sql.SQL("{}::text").format(name)
