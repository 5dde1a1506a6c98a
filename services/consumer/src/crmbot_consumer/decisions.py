"""Operators' decisions, which the consumer cannot make: to accept a loss, to reject a source."""

from collections.abc import Mapping
from dataclasses import replace

from confluent_kafka import TopicPartition
from psycopg import errors, sql

from crmbot_consumer.settings import TopicSettings
from crmbot_core import ledger
from crmbot_core.errors import ConfigurationError
from crmbot_core.kafka import EARLIEST, admin_client, offsets, topic_id
from crmbot_core.ledger import Entry, Gap, Position
from crmbot_core.warehouse import connect, translated_errors

_HAS_ROWS = "SELECT 1 FROM {table} WHERE source_id = %s LIMIT 1"


def accept_retention(settings: TopicSettings, kafka: Mapping[str, str], partition: int) -> tuple[int, int]:
    """Move the partition's position in the ledger to the first offset that Kafka still has.

    Returns:
        The first lost offset, and the offset at which loading resumes.

    Raises:
        ConfigurationError: nothing is lost, so there is nothing to accept.
    """
    admin = admin_client(kafka)
    identity = topic_id(admin, settings.topic)
    place = TopicPartition(settings.topic, partition)
    earliest = offsets(admin, [place], EARLIEST)[settings.topic, partition]
    with connect(settings) as connection, translated_errors(), connection.transaction():
        found = ledger.positions(connection, settings.topic, [partition])
        start = found.get(partition, Position(identity, 0))
        if start.next_offset >= earliest:
            raise ConfigurationError(
                f"nothing is lost in partition {partition}: Kafka has {start.next_offset}, the next offset"
            )
        end = replace(start, next_offset=earliest)
        ledger.insert(connection, settings.topic, [Entry(partition, start.next_offset, end)])
    return start.next_offset, earliest


def reject_source(settings: TopicSettings, source_id: str) -> None:
    """Make dead letters of all messages of a source, from the consumers' next start.

    Raises:
        ConfigurationError: the source is already rejected, or has rows in the warehouse.
    """
    table = sql.Identifier(settings.table)
    with connect(settings) as connection, translated_errors():
        if connection.execute(sql.SQL(_HAS_ROWS).format(table=table), (source_id,)).fetchone():
            raise ConfigurationError(
                f"source {source_id} has rows in {settings.table}, so it is a bot's: nothing is changed"
            )
        if source_id in ledger.foreign_sources(connection, settings.topic):
            raise ConfigurationError(f"source {source_id} is rejected already: start the consumer")
        ledger.declare_foreign(connection, settings.topic, source_id, is_foreign=True)


def accept_source(settings: TopicSettings, source_id: str) -> None:
    """Undo `reject_source`, from the consumers' next start.

    Raises:
        ConfigurationError: the source is not rejected.
    """
    with connect(settings) as connection, translated_errors():
        if source_id not in ledger.foreign_sources(connection, settings.topic):
            raise ConfigurationError(f"source {source_id} is not rejected: nothing is changed")
        ledger.declare_foreign(connection, settings.topic, source_id, is_foreign=False)


def accept_gap(settings: TopicSettings, partition: int, source_id: str, gap: Gap) -> None:
    """Record that the consumer may skip a gap in a source's chain.

    Raises:
        ConfigurationError: the chain is loaded beyond the start of the gap, or the gap is already accepted.
    """
    with connect(settings) as connection, translated_errors(), connection.transaction():
        found = ledger.positions(connection, settings.topic, [partition])
        last = found.get(partition, Position("", 0)).last_ids.get(source_id, 0)
        # Rows before the gap may be in the batch at which the consumer stopped, and so not be loaded yet.
        if not last <= gap[0] < gap[1]:
            raise ConfigurationError(
                f"nothing is lost there: in partition {partition} the chain of source {source_id} ends at "
                f"{last}, the gap given is ({gap[0]}, {gap[1]}]; give what the consumer said when it stopped"
            )
        try:
            ledger.accept_gap(connection, settings.topic, partition, source_id, gap)
        except errors.UniqueViolation:
            raise ConfigurationError("this gap was accepted before: start the consumer") from None
