"""A foreign producer: messages on the road's topics that do not come from a bot, or come twice."""

import json
import random
from typing import Any
from uuid import UUID

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.chaos.world import World

_RECENT = 200
_COPIES = 20
_OVERSIZE = 3_000_000  # bytes; a producer of ours sends a megabyte at most
_MARK: Any = {"foreign": b"yes"}  # tells the checker that no bot's producer sent it


def send(world: World, topic: str, rng: random.Random) -> None:
    """Send copies of messages that are there, in disorder, and messages that break the contract."""
    partition = rng.randrange(world.partition_count(topic))
    recent = _recent(world, topic, partition)
    producer = Producer(
        {"bootstrap.servers": world.kafka.bootstrap_servers, "message.max.bytes": 2 * _OVERSIZE}
    )
    rng.shuffle(recent)
    wrong = [_broken(message, rng) for message in recent]
    for message in recent:
        producer.produce(topic, message.value(), message.key(), partition, headers=_MARK)
    for key, value in wrong:
        producer.produce(topic, value, key, partition, headers=_MARK)
    left = producer.flush(30)
    world.history.add(
        "foreign", topic=topic, partition=partition, copies=len(recent), broken=len(wrong), left=left
    )


def repaired(world: World, topic: str, rng: random.Random) -> bytes:
    """Return a message that keeps the contract and is of no event that was there before."""
    for partition in range(world.partition_count(topic)):
        for message in _recent(world, topic, partition):
            return json.dumps((_fields(message) or {}) | {"event_id": _event(rng)}).encode()
    raise AssertionError(f"{topic} is empty")


def _event(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def _recent(world: World, topic: str, partition: int) -> list[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": world.kafka.bootstrap_servers,
            "group.id": "nemesis",
            "enable.partition.eof": True,
        }
    )
    place = TopicPartition(topic, partition)
    low, high = consumer.get_watermark_offsets(place, timeout=10)
    consumer.assign([TopicPartition(topic, partition, max(low, high - _RECENT))])
    found: list[Message] = []
    while len(found) < _COPIES and (message := consumer.poll(2)) is not None and message.error() is None:
        if _fields(message) is not None:
            found.append(message)
    consumer.close()
    return found


def _fields(message: Message) -> dict[str, Any] | None:
    try:
        fields = json.loads(message.value() or b"")
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _broken(message: Message, rng: random.Random) -> tuple[bytes | None, bytes | None]:
    """Return a key and a value that the contract does not allow."""
    key, value = message.key(), message.value() or b""
    # An event of its own, so that it is not taken for a copy.
    fields = (_fields(message) or {}) | {"event_id": _event(rng)}

    def changed(**changes: Any) -> bytes:  # noqa: ANN401  (any JSON)
        return json.dumps(fields | changes, ensure_ascii=False).encode()

    values = [
        b"",
        None,
        b"{",
        b"\xff\xfe" + value,
        value[: len(value) // 2],
        changed(schema_version=2),
        changed(occurred_at="yesterday"),
        changed(unknown="field"),
        changed(city="x" * _OVERSIZE),
        changed(city="zero\0byte"),
        changed(mrf="mrf99"),
        changed(),  # an old number under a new event: out of order
    ]
    return (b"another key", changed()) if rng.random() < 0.1 else (key, rng.choice(values))
