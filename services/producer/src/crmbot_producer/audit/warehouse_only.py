"""The audit without the bot's file: the chains alone prove in SQL that the warehouse lacks no row."""

import time
from collections.abc import Iterator

from psycopg import sql

from crmbot_core.contracts import STREAMS, Stream
from crmbot_core.settings import WarehouseSettings
from crmbot_producer.audit.compare import Difference
from crmbot_producer.audit.ledger import links
from crmbot_producer.audit.result import StreamAudit, check_table
from crmbot_producer.audit.warehouse import AuditedTable, audit_snapshot

_FETCH_ROWS = 10_000
# In the order of transaction_id, each link must name the previous one: then none is missing or inserted,
# there is one first link, and no two name the same. Only an accepted gap may lie between two links.
_UNLINKED = """
    SELECT c.source_id::text, c.transaction_id, c.kafka_partition, c.previous_id, c.before_it
    FROM (
        SELECT source_id, kafka_partition, transaction_id, previous_id,
               lag(transaction_id, 1, 0::bigint) OVER (
                   PARTITION BY source_id, kafka_partition ORDER BY transaction_id
               ) AS before_it
        FROM {links} links
    ) c
    LEFT JOIN (
        SELECT source_id, kafka_partition, up_to_id, min(after_id) AS after_id FROM crm_bot_losses
        WHERE topic = %(topic)s GROUP BY source_id, kafka_partition, up_to_id
    ) l ON l.source_id = c.source_id AND l.kafka_partition = c.kafka_partition AND l.up_to_id = c.previous_id
    WHERE c.previous_id <> c.before_it
      AND (l.up_to_id IS NULL OR c.before_it < l.after_id OR c.before_it > l.up_to_id)
    ORDER BY c.source_id, c.kafka_partition, c.transaction_id
"""
_DUPLICATE_IDS = """
    SELECT coalesce(sum(surplus), 0)::bigint FROM (
        SELECT count(*) - 1 AS surplus FROM {table}
        GROUP BY source_id, transaction_id HAVING count(*) > 1
    ) numbers
"""
_BELOW_ONE = "SELECT count(*) FROM {table} WHERE transaction_id < 1"


def audit_warehouse(settings: WarehouseSettings, mrf: str) -> list[StreamAudit]:
    """Check the chains, rows and ledger of an MRF's tables, without its files.

    Raises:
        ConfigurationError: the tables are missing, or may not be read.
        TransientError: the warehouse cannot be read now.
    """
    return [_audit_stream(settings, stream, mrf) for stream in STREAMS.values()]


def _audit_stream(settings: WarehouseSettings, stream: Stream, mrf: str) -> StreamAudit:
    started = time.monotonic()
    result = StreamAudit(stream.name)
    with audit_snapshot(settings) as connection:
        table = AuditedTable(connection, stream, mrf)
        result.rows_in_warehouse = sum(table.rows_by_source().values())
        result.add(_unlinked(table))
        for query, what in (
            (_DUPLICATE_IDS, "rows with the number of another row of their source"),
            (_BELOW_ONE, "rows with a transaction_id below 1"),
        ):
            if count := table.count(sql.SQL(query).format(table=table.table), {}):
                result.broken_promises.append(f"{count} {what}")
        check_table(result, table)
    result.seconds = time.monotonic() - started
    return result


def _unlinked(table: AuditedTable) -> Iterator[Difference]:
    """Yield the links that do not directly follow the link that they name."""
    query = sql.SQL(_UNLINKED).format(links=links(table))
    with table.connection.cursor(name="audit_unlinked") as cursor:
        cursor.itersize = _FETCH_ROWS
        for source_id, transaction_id, partition, previous_id, before_it in cursor.execute(
            query, {"topic": table.topic}
        ):
            detail = f"in partition {partition} it follows {previous_id}, the row before it is {before_it}"
            yield Difference("unlinked", source_id, transaction_id, "", detail)
