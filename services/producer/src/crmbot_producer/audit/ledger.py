"""Checks for the audit that the ledger is unbroken and matches the rows."""

from typing import NamedTuple

from psycopg import sql

from crmbot_core import ledger
from crmbot_producer.audit.warehouse import AuditedTable

_LEDGER = """
    SELECT coalesce(sum(rows_loaded), 0)::bigint, coalesce(sum(rows_rejected), 0)::bigint,
           coalesce(sum(rows_duplicate), 0)::bigint
    FROM crm_bot_ledger WHERE topic = %(topic)s
"""
_CHAIN_ENDS = """
    SELECT DISTINCT ON (kafka_partition) kafka_partition, last_ids FROM crm_bot_ledger
    WHERE topic = %(topic)s ORDER BY kafka_partition, log_epoch DESC, start_offset DESC
"""
# The links of the chains: rows, and dead letters that are part of the chain. A replayed row is represented by
# its dead letter if that is a link, and otherwise is not part of a chain.
_LINKS = """
    SELECT t.source_id, t.kafka_partition, t.transaction_id, t.previous_id
    FROM {table} t
    LEFT JOIN (
        SELECT event_id, kafka_partition, kafka_offset FROM crm_bot_replays WHERE topic = %(topic)s
    ) p ON p.event_id = t.event_id AND p.kafka_partition = t.kafka_partition
       AND p.kafka_offset = t.kafka_offset
    WHERE p.event_id IS NULL
    UNION ALL
    SELECT source_id, kafka_partition, transaction_id, previous_id
    FROM crm_bot_rejects
    WHERE topic = %(topic)s AND is_link
"""
_NEWEST_LINKS = """
    SELECT source_id::text, kafka_partition, max(transaction_id) FROM {links} links
    GROUP BY source_id, kafka_partition
"""
_LOSSES = """
    SELECT source_id::text, kafka_partition, after_id, up_to_id FROM crm_bot_losses
    WHERE topic = %(topic)s ORDER BY accepted_at, kafka_partition, after_id
"""
_DEAD_LETTERS = "SELECT count(*) FROM crm_bot_rejects WHERE topic = %(topic)s"
_REPLAYS = "SELECT count(*) FROM crm_bot_replays WHERE topic = %(topic)s"
_NAMED_LOSSES = 20


class LedgerFindings(NamedTuple):
    """Findings about the ledger. `dead_letters` and `replayed` are the row counts of their tables."""

    dead_letters: int
    replayed: int
    duplicates_dropped: int
    broken_promises: list[str]
    notes: list[str]


def check_ledger(table: AuditedTable, rows_in_warehouse: int) -> LedgerFindings:
    """Compare the ledger of a topic with its rows and dead letters, in the table's snapshot."""
    topic = {"topic": table.topic}
    found = table.connection.execute(_LEDGER, topic).fetchone()
    loaded, rejected, duplicates = found or (0, 0, 0)
    dead_letters, replayed = (table.count(sql.SQL(query), topic) for query in (_DEAD_LETTERS, _REPLAYS))
    broken = []
    if breaks := ledger.breaks(table.connection, table.topic):
        broken.append(f"{len(breaks)} breaks in the ledger's chain")
    if loaded + replayed != rows_in_warehouse:
        broken.append(
            f"the ledger tells of {loaded} rows and {replayed} replayed, the table has {rows_in_warehouse}"
        )
    if rejected != dead_letters:
        broken.append(f"the ledger tells of {rejected} dead letters, there are {dead_letters}")
    if ends := _wrong_ends(table):
        broken.append(f"{ends} chains do not end where the ledger says")
    notes = _accepted_losses(table) + [
        f"source {source_id} was rejected by an operator: its messages are dead letters"
        for source_id in sorted(ledger.foreign_sources(table.connection, table.topic))
    ]
    return LedgerFindings(dead_letters, replayed, duplicates, broken, notes)


def links(table: AuditedTable) -> sql.Composed:
    """Return the subquery of the chains' links; its parameter is `topic`."""
    return sql.SQL("({})").format(sql.SQL(_LINKS).format(table=table.table))


def _wrong_ends(table: AuditedTable) -> int:
    """Return the number of chains whose newest link is not the one in the ledger."""
    topic = {"topic": table.topic}
    ends = {
        (source_id, partition): end
        for partition, last_ids in table.connection.execute(_CHAIN_ENDS, topic)
        for source_id, end in last_ids.items()
    }
    newest = {
        (source_id, partition): transaction_id
        for source_id, partition, transaction_id in table.connection.execute(
            sql.SQL(_NEWEST_LINKS).format(links=links(table)), topic
        )
    }
    return sum(ends.get(chain, 0) != newest.get(chain, 0) for chain in ends.keys() | newest.keys())


def _accepted_losses(table: AuditedTable) -> list[str]:
    losses = table.connection.execute(_LOSSES, {"topic": table.topic}).fetchall()
    notes = [
        f"accepted loss: source {source_id}, what it sent to partition {partition} after transaction {after} "
        f"up to {up_to}; `crmbot-producer resend` fills it"
        for source_id, partition, after, up_to in losses[:_NAMED_LOSSES]
    ]
    more = len(losses) - len(notes)
    return [*notes, f"{more} more accepted losses: crm_bot_losses"] if more else notes
