"""The ledger in the warehouse: how far each partition of a topic is loaded.

A batch may only start where the previous one ended. So if two consumers load the same range, or the warehouse
lost commits, the later batch fails with all its rows. Rows are append-only, except that the owner's
`crmbot-consumer maintain` folds old ones.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from psycopg import errors

from crmbot_core.errors import TransientError
from crmbot_core.warehouse import Connection

ADOPTED = -1  # start_offset of the first row of a new epoch

# A gap in a source's chain, accepted by an operator: ids above the first number, up to the second.
Gap = tuple[int, int]

_POSITION = """
    SELECT topic_id, log_epoch, end_offset, last_ids, gaps FROM crm_bot_ledger
    WHERE topic = %s AND kafka_partition = %s ORDER BY log_epoch DESC, start_offset DESC LIMIT 1
"""
_PARTITIONS = "SELECT DISTINCT kafka_partition FROM crm_bot_ledger WHERE topic = %s ORDER BY kafka_partition"
_NEWEST_BATCHES = """
    SELECT rows_loaded + rows_rejected + rows_duplicate, rows_rejected FROM crm_bot_ledger
    WHERE topic = %s AND kafka_partition = %s ORDER BY log_epoch DESC, start_offset DESC LIMIT %s
"""
_BREAKS = """
    SELECT kafka_partition, log_epoch, start_offset, previous_end FROM (
        SELECT kafka_partition, log_epoch, start_offset, lag(end_offset) OVER (
            PARTITION BY kafka_partition, log_epoch ORDER BY start_offset
        ) AS previous_end
        FROM crm_bot_ledger WHERE topic = %s
    ) batches
    WHERE start_offset <> previous_end OR (previous_end IS NULL AND start_offset NOT IN (0, -1))
    ORDER BY kafka_partition, log_epoch, start_offset
"""
_INSERT = """
    INSERT INTO crm_bot_ledger (topic, kafka_partition, log_epoch, start_offset, end_offset, topic_id,
                                rows_loaded, rows_rejected, rows_duplicate, rows_superseded, last_ids, gaps)
    SELECT %(topic)s, %(partition)s, %(epoch)s, %(start)s, %(end)s, %(topic_id)s,
           %(loaded)s, %(rejected)s, %(duplicate)s, %(superseded)s, %(last_ids)s::json, %(gaps)s::json
    WHERE %(start)s = -1 OR %(start)s = coalesce((
        SELECT end_offset FROM crm_bot_ledger
        WHERE topic = %(topic)s AND kafka_partition = %(partition)s AND log_epoch = %(epoch)s
          AND start_offset < %(start)s
        ORDER BY start_offset DESC LIMIT 1
    ), 0)
"""
_ORDERS = """
    SELECT source_id::text, max(up_to_offset) FROM crm_bot_resends
    WHERE topic = %s AND kafka_partition = %s AND log_epoch = %s GROUP BY source_id
"""
_ORDER = """
    INSERT INTO crm_bot_resends (topic, kafka_partition, log_epoch, source_id, up_to_offset)
    SELECT %(topic)s, %(partition)s, %(epoch)s, %(source_id)s::uuid, %(up_to)s
    WHERE NOT EXISTS (
        SELECT 1 FROM crm_bot_resends
        WHERE topic = %(topic)s AND kafka_partition = %(partition)s AND log_epoch = %(epoch)s
          AND source_id = %(source_id)s::uuid AND up_to_offset = %(up_to)s
    )
"""
_RESENT = "SELECT DISTINCT kafka_partition, log_epoch FROM crm_bot_resends WHERE topic = %s"
_LOSSES = """
    SELECT source_id::text, after_id, up_to_id FROM crm_bot_losses WHERE topic = %s AND kafka_partition = %s
"""
_FOREIGN = """
    SELECT source_id::text FROM (
        SELECT DISTINCT ON (source_id) source_id, is_foreign FROM crm_bot_foreign_sources
        WHERE topic = %s ORDER BY source_id, decided_at DESC
    ) decisions
    WHERE is_foreign
"""
# Later than every earlier decision, whatever the server's clock says.
_DECLARE = """
    INSERT INTO crm_bot_foreign_sources (topic, source_id, is_foreign, decided_at)
    SELECT %(topic)s, %(source_id)s::uuid, %(is_foreign)s,
           greatest(now(), max(decided_at) + interval '1 microsecond')
    FROM crm_bot_foreign_sources WHERE topic = %(topic)s AND source_id = %(source_id)s::uuid
"""
_LOSS = """
    INSERT INTO crm_bot_losses (topic, kafka_partition, source_id, after_id, up_to_id)
    VALUES (%s, %s, %s, %s, %s)
"""


class FencedError(TransientError):
    """The batch does not start where the ledger ends: another consumer was faster, or commits were lost.

    Nothing was committed; resume from the ledger.
    """


@dataclass(frozen=True)
class Position:
    """How far a partition is loaded.

    Attributes:
        topic_id: the topic's id in Kafka.
        next_offset: the next offset to load.
        last_ids: by source_id, the last transaction_id of its chain.
        gaps: by source_id, the accepted gaps of its chain that are not filled, oldest first.
        log_epoch: how often `crmbot-consumer adopt-topic` has adopted a new log of the topic.
    """

    topic_id: str
    next_offset: int
    last_ids: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, tuple[Gap, ...]] = field(default_factory=dict)
    log_epoch: int = 0


class Counts(NamedTuple):
    """Messages of a batch by outcome."""

    loaded: int = 0
    rejected: int = 0
    duplicate: int = 0
    superseded: int = 0


class Entry(NamedTuple):
    """A row of the ledger: a partition's batch from `start_offset` to `end`, in the epoch of `end`."""

    partition: int
    start_offset: int
    end: Position
    counts: Counts = Counts()


class Break(NamedTuple):
    """A batch that does not start where the previous one ended; `previous_end` is None if it is the first."""

    partition: int
    log_epoch: int
    start_offset: int
    previous_end: int | None


class Order(NamedTuple):
    """Resend order: a source's messages behind a gap and below offset `up_to` will be sent again.

    In an epoch that `adopt-topic` has begun, all its messages below that offset will.
    """

    partition: int
    log_epoch: int
    source_id: str
    up_to: int


def positions(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, Position]:
    """Return the position of each partition, except those never loaded."""
    found = {}
    for partition in partitions:
        row = connection.execute(_POSITION, (topic, partition)).fetchone()
        if row is not None:
            topic_id, epoch, end, last_ids, gaps = row
            open_gaps = {
                source: tuple((after, up_to) for after, up_to in all_) for source, all_ in gaps.items()
            }
            found[partition] = Position(topic_id, end, last_ids, open_gaps, epoch)
    return found


def partitions(connection: Connection, topic: str) -> list[int]:
    """Return the partitions that have been loaded; reads the topic's whole ledger."""
    return [partition for (partition,) in connection.execute(_PARTITIONS, (topic,))]


def newest_batches(
    connection: Connection, topic: str, partition: int, limit: int
) -> Iterator[tuple[int, int]]:
    """Yield (messages, rejects) of a partition's batches, newest first."""
    yield from connection.execute(_NEWEST_BATCHES, (topic, partition, limit))


def breaks(connection: Connection, topic: str) -> list[Break]:
    """Return the breaks in the chain of a topic's batches; reads the topic's whole ledger."""
    return [Break(*row) for row in connection.execute(_BREAKS, (topic,))]


def insert(connection: Connection, topic: str, entries: Sequence[Entry]) -> None:
    """Insert batches in the caller's transaction, before any other statement.

    Inserts in the order of partitions, so that two transactions cannot deadlock.

    Raises:
        FencedError: a batch does not start where the ledger ends; roll back.
    """
    rows = [_row(topic, entry) for entry in sorted(entries, key=lambda entry: entry.partition)]
    with connection.cursor() as cursor:
        try:
            cursor.executemany(_INSERT, rows)
        except errors.UniqueViolation as error:
            raise FencedError("another consumer has loaded this range") from error
        if cursor.rowcount != len(rows):
            raise FencedError("the ledger does not end where this batch begins")


def resend_orders(connection: Connection, topic: str, partition: int, log_epoch: int) -> dict[str, int]:
    """Return, by source_id, the offset below which resends supersede messages of a partition."""
    return dict(connection.execute(_ORDERS, (topic, partition, log_epoch)).fetchall())


def unresent(connection: Connection, topic: str, known: Mapping[int, Position]) -> list[int]:
    """Return the partitions that were adopted and have no resend order since.

    What Kafka has of them must not be loaded: after a loss the producer may have begun anew, and may spread
    rows over another number of partitions.

    Args:
        connection: the warehouse.
        topic: the topic.
        known: positions by partition.
    """
    ordered = set(connection.execute(_RESENT, (topic,)).fetchall())
    return [
        partition
        for partition, position in sorted(known.items())
        if position.log_epoch and (partition, position.log_epoch) not in ordered
    ]


def order_resend(connection: Connection, topic: str, orders: Iterable[Order]) -> None:
    """Insert the orders that do not exist yet."""
    for order in orders:
        connection.execute(_ORDER, {"topic": topic, **order._asdict(), "epoch": order.log_epoch})


def accepted_losses(connection: Connection, topic: str, partition: int) -> set[tuple[str, Gap]]:
    """Return the accepted gaps of a partition's chains: (source_id, gap)."""
    rows = connection.execute(_LOSSES, (topic, partition)).fetchall()
    return {(source_id, (after, up_to)) for source_id, after, up_to in rows}


def accept_gap(connection: Connection, topic: str, partition: int, source_id: str, gap: Gap) -> None:
    """Record a gap in a source's chain as accepted.

    Raises:
        psycopg.errors.UniqueViolation: it is already accepted.
    """
    connection.execute(_LOSS, (topic, partition, source_id, *gap))


def foreign_sources(connection: Connection, topic: str) -> set[str]:
    """Return the sources declared foreign."""
    return {source_id for (source_id,) in connection.execute(_FOREIGN, (topic,))}


def declare_foreign(connection: Connection, topic: str, source_id: str, *, is_foreign: bool) -> None:
    """Record that a source belongs to no bot, or that it does after all."""
    connection.execute(_DECLARE, {"topic": topic, "source_id": source_id, "is_foreign": is_foreign})


def _row(topic: str, entry: Entry) -> dict[str, object]:
    end = entry.end
    return {
        "topic": topic,
        "partition": entry.partition,
        "epoch": end.log_epoch,
        "start": entry.start_offset,
        "end": end.next_offset,
        "topic_id": end.topic_id,
        **entry.counts._asdict(),
        "last_ids": json.dumps(dict(end.last_ids)),
        "gaps": json.dumps(dict(end.gaps)),
    }
