"""A topic's positions in the warehouse's ledger, and the messages that Kafka has beyond them."""

from collections.abc import Generator, Mapping
from contextlib import closing

from confluent_kafka import Message, TopicPartition

from crmbot_core import ledger
from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_core.kafka import EARLIEST, LATEST, admin_client, offsets, topic_id
from crmbot_core.ledger import Position
from crmbot_core.warehouse import Connection
from crmbot_producer.committed import committed_messages


def checked_positions(
    connection: Connection, kafka: Mapping[str, str], topic: str, partitions: int
) -> dict[int, Position]:
    """Return the position of each of the topic's partitions, except those never loaded.

    Raises:
        StoppedError: the ledger covers another topic of this name, or messages that Kafka has lost.
    """
    admin = admin_client(kafka)
    identity = topic_id(admin, topic)
    positions = ledger.positions(connection, topic, range(partitions))
    ends = offsets(admin, [TopicPartition(topic, number) for number in range(partitions)], LATEST)
    for number, position in positions.items():
        if position.topic_id != identity or position.next_offset > ends[topic, number]:
            raise StoppedError(
                f"{topic} partition {number}: the topic was recreated or has lost messages that are loaded, "
                f"so the ledger does not fit it; first: crmbot-consumer adopt-topic --stream "
                f"{topic.split('_')[2]}; nothing is changed"
            )
    return positions


def committed_beyond(
    kafka: Mapping[str, str],
    topic: str,
    partitions: int,
    positions: Mapping[int, Position],
    *,
    lost_too: bool,
) -> Generator[Message, None, None]:
    """Yield the committed messages that the ledger does not cover.

    Comparing offsets is not enough: transaction markers have offsets, too.

    Args:
        kafka: the client's settings.
        topic: the topic.
        partitions: its number of partitions.
        positions: the ledger's positions.
        lost_too: whether to skip messages that Kafka has deleted, instead of stopping.

    Raises:
        StoppedError: Kafka has deleted unloaded messages.
        TransientError, ConfigurationError: as `committed_messages`.
    """
    places = [
        TopicPartition(topic, number, positions[number].next_offset if number in positions else 0)
        for number in range(partitions)
    ]
    if lost_too:
        earliest = offsets(admin_client(kafka), places, EARLIEST)
        for place in places:
            place.offset = max(place.offset, earliest[topic, place.partition])
    yield from committed_messages(kafka, places)


def check_all_loaded(
    kafka: Mapping[str, str], topic: str, partitions: int, positions: Mapping[int, Position]
) -> None:
    """Raise ConfigurationError if Kafka has messages that the ledger does not cover."""
    with closing(committed_beyond(kafka, topic, partitions, positions, lost_too=False)) as messages:
        waiting = next(messages, None)
    if waiting is not None:
        place = f"{topic} partition {waiting.partition()} offset {waiting.offset()}"
        raise ConfigurationError(
            f"not everything is loaded yet: {place}; nothing is changed. Stop the producer, wait until the "
            "consumers have caught up, then try again"
        )
