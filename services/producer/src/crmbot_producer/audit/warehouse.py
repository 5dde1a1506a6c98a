"""The audit's queries of a stream's rows and dead letters in the warehouse, in one snapshot."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager

from psycopg import sql

from crmbot_core.contracts import Stream
from crmbot_core.contracts.digest import warehouse_digest
from crmbot_core.settings import WarehouseSettings
from crmbot_core.warehouse import Connection, snapshot
from crmbot_producer.audit.compare import DeadLetter, Difference
from crmbot_producer.sqlite import RowDigest

_FETCH_ROWS = 10_000
_FETCH_DEAD_LETTERS = 4  # of up to 1 MB each
_ROWS = """
    SELECT transaction_id, event_id::text, {digest} FROM {table}
    WHERE source_id = %s ORDER BY transaction_id
"""
_DEAD_LETTERS = """
    SELECT r.transaction_id, r.message_value, p.event_id IS NOT NULL, t.event_id::text, t.digest, r.is_link
    FROM crm_bot_rejects r
    LEFT JOIN crm_bot_replays p
           ON p.topic = r.topic AND p.kafka_partition = r.kafka_partition
          AND p.log_epoch = r.log_epoch AND p.kafka_offset = r.kafka_offset
    LEFT JOIN (
        SELECT kafka_partition, kafka_offset, source_id, transaction_id, event_id, {digest} AS digest
        FROM {table}
        WHERE event_id IN (SELECT event_id FROM crm_bot_replays WHERE topic = %(topic)s)
    ) t    ON t.event_id = p.event_id AND t.kafka_partition = p.kafka_partition
          AND t.kafka_offset = p.kafka_offset
          AND t.source_id = r.source_id AND t.transaction_id = r.transaction_id
    WHERE r.topic = %(topic)s AND r.source_id = %(source_id)s AND r.transaction_id IS NOT NULL
    ORDER BY r.transaction_id
"""
_EVENTS_TWICE = """
    SELECT t.event_id::text, t.source_id::text, t.transaction_id
    FROM {table} t
    JOIN (SELECT event_id FROM {table} GROUP BY event_id HAVING count(*) > 1) e ON e.event_id = t.event_id
    ORDER BY t.event_id, t.loaded_at, t.source_id, t.transaction_id
"""
_ARRIVED = """
    SELECT (
        SELECT count(*) FROM {table}
        WHERE source_id = %(source_id)s AND transaction_id > %(after)s AND transaction_id <= %(up_to)s
    ) + (
        SELECT count(*) FROM crm_bot_rejects r
        LEFT JOIN crm_bot_replays p
               ON p.topic = r.topic AND p.kafka_partition = r.kafka_partition
              AND p.log_epoch = r.log_epoch AND p.kafka_offset = r.kafka_offset
        WHERE r.topic = %(topic)s AND r.source_id = %(source_id)s AND r.is_link AND p.topic IS NULL
          AND r.transaction_id > %(after)s AND r.transaction_id <= %(up_to)s
    )
"""
# Rows of a lead that arrived out of commit order. Replayed rows, and rows of an accepted gap that were sent
# again, are late by design. Offsets restart in an adopted topic.
_DISORDER = """
    SELECT count(*) FROM (
        SELECT kafka_partition, kafka_offset, loaded_at,
               lag(kafka_partition) OVER lead AS previous_partition,
               lag(kafka_offset) OVER lead AS previous_offset,
               lag(loaded_at) OVER lead AS previous_loaded_at
        FROM {table} t
        WHERE NOT EXISTS (
            SELECT 1 FROM crm_bot_replays p
            WHERE p.topic = %(topic)s AND p.event_id = t.event_id
              AND p.kafka_partition = t.kafka_partition AND p.kafka_offset = t.kafka_offset
        ) AND NOT EXISTS (
            SELECT 1 FROM crm_bot_losses l
            WHERE l.topic = %(topic)s AND l.source_id = t.source_id AND l.kafka_partition = t.kafka_partition
              AND t.transaction_id > l.after_id AND t.transaction_id <= l.up_to_id
        )
        WINDOW lead AS (PARTITION BY source_id, lead_id ORDER BY transaction_id)
    ) rows_of_leads
    WHERE (kafka_partition = previous_partition
           AND kafka_offset <= previous_offset AND loaded_at <= previous_loaded_at)
       OR (kafka_partition <> previous_partition AND loaded_at < previous_loaded_at)
"""


class AuditedTable:
    """The table of one stream of one MRF. Memory stays bounded, whatever the table holds."""

    def __init__(self, connection: Connection, stream: Stream, mrf: str) -> None:
        self.connection = connection
        self.topic = stream.topic(mrf)
        self.table = sql.Identifier(stream.table(mrf))
        self._digest = warehouse_digest(stream)

    def digests(self, source_id: str) -> Generator[RowDigest, None, None]:
        """Yield the rows of one source in the order of transaction_id."""
        query = sql.SQL(_ROWS).format(digest=self._digest, table=self.table)
        with self.connection.cursor(name="audit_rows") as cursor:
            cursor.itersize = _FETCH_ROWS
            for row in cursor.execute(query, (source_id,)):
                yield RowDigest(*row)

    def dead_letters(self, source_id: str) -> Generator[DeadLetter, None, None]:
        """Yield the dead letters that name rows of one source, in the order of transaction_id."""
        query = sql.SQL(_DEAD_LETTERS).format(digest=self._digest, table=self.table)
        parameters = {"topic": self.topic, "source_id": source_id}
        with self.connection.cursor(name="audit_dead_letters") as cursor:
            cursor.itersize = _FETCH_DEAD_LETTERS
            for id_, value, is_replayed, event_id, digest, is_link in cursor.execute(
                query, parameters, binary=True
            ):
                replayed_as = None if event_id is None else RowDigest(id_, event_id, digest)
                yield DeadLetter(id_, value, is_replayed, replayed_as, is_link)

    def events_twice(self) -> Iterator[Difference]:
        """Yield the rows whose event the table already has, whatever their source and id."""
        query = sql.SQL(_EVENTS_TWICE).format(table=self.table)
        with self.connection.cursor(name="audit_events") as cursor:
            cursor.itersize = _FETCH_ROWS
            first_event, first = "", ""
            for event_id, source_id, transaction_id in cursor.execute(query):
                if event_id == first_event:
                    yield Difference("twice", source_id, transaction_id, event_id, first)
                else:
                    first_event, first = event_id, f"first: source {source_id} transaction {transaction_id}"

    def rows_by_source(self) -> dict[str, int]:
        """Return the number of rows of each source_id."""
        query = sql.SQL("SELECT source_id::text, count(*) FROM {} GROUP BY source_id").format(self.table)
        return dict(self.connection.execute(query).fetchall())

    def arrived(self, source_id: str, after: int, up_to: int) -> int:
        """Return how many rows of a source with after < transaction_id <= up_to are loaded or rejected."""
        parameters = {"topic": self.topic, "source_id": source_id, "after": after, "up_to": up_to}
        return self.count(sql.SQL(_ARRIVED).format(table=self.table), parameters)

    def disordered(self) -> int:
        """Return the number of rows that arrived before an earlier row of their lead."""
        return self.count(sql.SQL(_DISORDER).format(table=self.table), {"topic": self.topic})

    def count(self, query: sql.SQL | sql.Composed, parameters: Mapping[str, object]) -> int:
        """Return the single number that a query returns."""
        row = self.connection.execute(query, parameters).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def audit_snapshot(settings: WarehouseSettings) -> Iterator[Connection]:
    """Connect and hold one snapshot, so that all figures are consistent."""
    with snapshot(settings, is_read_only=True) as connection:
        connection.execute("SET LOCAL work_mem = '256MB'")
        yield connection
