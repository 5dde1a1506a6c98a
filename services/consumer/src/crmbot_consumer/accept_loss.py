"""Goes on after data loss, by an operator's word: the ledger gets a row for the range that is lost."""

from collections.abc import Mapping

from confluent_kafka import TopicPartition

from crmbot_consumer.batch import PartitionBatch
from crmbot_consumer.ledger import Position
from crmbot_consumer.settings import TopicSettings
from crmbot_consumer.warehouse import Load, Warehouse
from crmbot_core.errors import ConfigurationError
from crmbot_core.kafka import EARLIEST, admin_client, offsets, topic_id


def accept_loss(settings: TopicSettings, kafka: Mapping[str, str], partition: int) -> tuple[int, int]:
    """Move the partition's ledger to the first offset that Kafka still has.

    Returns:
        The first lost offset, and the offset where loading goes on.

    Raises:
        ConfigurationError: nothing is lost, so there is nothing to accept.
    """
    admin = admin_client(kafka)
    identity = topic_id(admin, settings.topic)
    earliest = offsets(admin, [TopicPartition(settings.topic, partition)], EARLIEST)[
        settings.topic, partition
    ]
    warehouse = Warehouse(settings, settings.topic, settings.table, ())
    try:
        start = warehouse.positions([partition]).get(partition, Position(identity, 0))
        if start.next_offset >= earliest:
            raise ConfigurationError(
                f"nothing is lost in partition {partition}: Kafka has {start.next_offset}, the next offset"
            )
        end = Position(start.topic_id, earliest, start.last_ids)
        warehouse.load(Load([PartitionBatch(partition, start, end, rows=(), offsets=())], texts=()))
    finally:
        warehouse.close()
    return start.next_offset, earliest
