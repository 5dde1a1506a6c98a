"""Adopts a topic that was recreated or lost its newest messages; the sources' chains continue."""

from collections.abc import Mapping
from dataclasses import replace

from confluent_kafka import TopicPartition

from crmbot_consumer.settings import TopicSettings
from crmbot_core import ledger
from crmbot_core.errors import ConfigurationError
from crmbot_core.kafka import EARLIEST, LATEST, admin_client, offsets, partition_count, topic_id
from crmbot_core.ledger import ADOPTED, Entry, Position
from crmbot_core.warehouse import connect, translated_errors


def adopt_topic(settings: TopicSettings, kafka: Mapping[str, str]) -> dict[int, int]:
    """Start a new epoch in each partition whose log was recreated or lost its newest messages.

    An empty batch closes the old epoch, so that a consumer cannot load messages that it still holds from it.
    If the topic was recreated, partitions that were never loaded get an epoch, too. Consumers load nothing of
    a new epoch before `crmbot-producer resend` has fitted the producer's records to it.

    Returns:
        By partition, the offset at which loading resumes: the earliest offset of a recreated log, the end of
        one that lost its newest messages.

    Raises:
        ConfigurationError: the ledger matches the topic, so there is nothing to adopt.
        FencedError: a consumer loaded a batch meanwhile; try again.
    """
    admin, topic = admin_client(kafka), settings.topic
    identity = topic_id(admin, topic)
    places = [TopicPartition(topic, number) for number in range(partition_count(admin, topic))]
    earliest, latest = offsets(admin, places, EARLIEST), offsets(admin, places, LATEST)
    with connect(settings) as connection, translated_errors(), connection.transaction():
        known = ledger.positions(connection, topic, ledger.partitions(connection, topic))
        starts = {}
        for partition, position in known.items():
            key = (topic, partition)
            start = _start(position, identity, earliest.get(key, 0), latest.get(key, 0))
            if start is not None:
                starts[partition] = start
        if not starts:
            raise ConfigurationError(f"nothing to adopt: the ledger fits {topic} as it is")
        entries = [Entry(partition, known[partition].next_offset, known[partition]) for partition in starts]
        if any(position.topic_id != identity for position in known.values()):
            new = [place.partition for place in places if place.partition not in known]
            starts |= {partition: earliest[topic, partition] for partition in new}
            known |= {partition: Position(identity, 0) for partition in new}
        for partition, start in starts.items():
            old = known[partition]
            end = replace(old, topic_id=identity, next_offset=start, log_epoch=old.log_epoch + 1)
            entries.append(Entry(partition, ADOPTED, end))
        ledger.insert(connection, topic, entries)
    return starts


def _start(known: Position, topic_id: str, earliest: int, latest: int) -> int | None:
    """Return the first offset of a partition's new epoch, None if it needs none."""
    if known.topic_id != topic_id:
        return earliest
    return latest if known.next_offset > latest else None
