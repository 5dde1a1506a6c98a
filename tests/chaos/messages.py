"""The committed messages of a topic, as a client reads them."""

import json
from collections import Counter
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

Spot = tuple[int, int]  # partition and offset, in one log


class Message(NamedTuple):
    """A committed message. A header marks foreign ones, which no bot's producer sent."""

    key: bytes | None
    value: bytes | None
    is_foreign: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the message; empty if it is not a JSON object."""
        try:
            fields = json.loads((self.value or b"").decode(errors="surrogateescape"))
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}


def committed_messages(topic: str, bootstrap: str) -> dict[Spot, Message]:
    """Return the current committed messages of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # an empty fetch reports the end, even while producers send
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    found: dict[Spot, Message] = {}
    ended: Counter[int] = Counter()
    while len(ended) < len(partitions):
        message = consumer.poll(90)  # the broker aborts an abandoned transaction after 60 s
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
    """Return the earliest offset of each partition of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "checker"})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    offsets = {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[0]
        for number in partitions
    }
    consumer.close()
    return offsets
