"""Reads committed messages from Kafka, up to the current ends of partitions."""

import time
from collections.abc import Generator, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from crmbot_core.errors import StoppedError, TransientError
from crmbot_core.kafka import LATEST, admin_client, client_config, offsets
from crmbot_core.kafka_errors import as_error, translated_errors

_TIMEOUT_SECONDS = 30.0


def committed_messages(
    settings: Mapping[str, str], starts: Sequence[TopicPartition]
) -> Generator[Message, None, None]:
    """Yield the committed messages from the given offsets on.

    Raises:
        TransientError: the broker is unavailable, or a transaction below the end stays open.
        ConfigurationError: wrong settings, rights or topics.
        StoppedError: Kafka does not have one of the start offsets.
    """
    ends = offsets(admin_client(settings), list(starts), LATEST)
    unread = [place for place in starts if place.offset < ends[place.topic, place.partition]]
    if not unread:
        return
    with translated_errors():
        consumer = Consumer(
            client_config(
                settings,
                # The end of a partition is only known from an empty fetch: do not wait long for it.
                defaults={"group.id": "crmbot-producer-state", "fetch.wait.max.ms": 20},
                fixed={
                    "isolation.level": "read_committed",
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                },
            )
        )
    try:
        consumer.assign(unread)
        yield from _read_to(consumer, {(p.topic, p.partition): ends[p.topic, p.partition] for p in unread})
    finally:
        consumer.close()


def _read_to(consumer: Consumer, ends: Mapping[tuple[str, int], int]) -> Generator[Message, None, None]:
    """Yield messages until each partition's position has reached its end."""
    unfinished = dict(ends)
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while unfinished:
        # Waits for the whole timeout unless the batch is full.
        messages = consumer.consume(10_000, timeout=0.1)
        if messages:
            deadline = time.monotonic() + _TIMEOUT_SECONDS
        elif time.monotonic() > deadline:
            topics = ", ".join(sorted({topic for topic, _ in unfinished}))
            raise TransientError(f"Kafka: no answer while reading {topics}, or an open transaction in it")
        for message in messages:
            position = _position_after(message)
            place = (message.topic() or "", message.partition() or 0)
            if message.error() is None:
                yield message
            if position >= ends[place]:
                unfinished.pop(place, None)


def _position_after(message: Message) -> int:
    """Return the position after a message or an end of partition; raise the error of other events."""
    error, offset = message.error(), message.offset() or 0
    if error is None:
        return offset + 1
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise StoppedError(
            f"{message.topic()} partition {message.partition()}: Kafka does not have the next message "
            f"({error.str()}); the consumer says what to do"
        )
    if error.code() != KafkaError._PARTITION_EOF:
        raise as_error(error, f"Read on topic {message.topic()}")
    return offset
