"""Kafka as a client shows it: the committed messages of a topic."""

import json
from collections import Counter
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

Spot = tuple[int, int]  # partition and offset, in one log


class Message(NamedTuple):
    """A committed message. Foreign ones are marked by their header: no bot's producer sent them."""

    key: bytes | None
    value: bytes | None
    is_foreign: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """What the message says, nothing if it is not a JSON object."""
        try:
            fields = json.loads((self.value or b"").decode(errors="surrogateescape"))
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}


def committed_messages(topic: str, bootstrap: str) -> dict[Spot, Message]:
    """Return the committed messages that a topic has now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # an empty fetch tells the end, also while more is coming
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    found: dict[Spot, Message] = {}
    ended: Counter[int] = Counter()
    while len(ended) < len(partitions):
        message = consumer.poll(90)  # a transaction that nobody ends is aborted after 60 s
        assert message is not None, f"{topic} cannot be read to its end: a transaction is open"
        error = message.error()
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error.str()
            ended[message.partition() or 0] += 1
            continue
        found[message.partition() or 0, message.offset() or 0] = Message(
            message.key(), message.value(), is_foreign=bool(message.headers())
        )
    consumer.close()
    return found


def earliest_offsets(topic: str, bootstrap: str) -> dict[int, int]:
    """Return the first offset that each partition of a topic still has."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "checker"})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    offsets = {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[0]
        for number in partitions
    }
    consumer.close()
    return offsets
