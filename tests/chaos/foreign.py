"""A foreign producer: messages on the road's topics that do not come from a bot, or come twice."""

import json
import random
from typing import Any
from uuid import UUID

from confluent_kafka import Producer

from tests.chaos.evidence import Message, committed_messages
from tests.chaos.world import World

_COPIES = 20
_OVERSIZE = 3_000_000  # bytes; a producer of ours sends a megabyte at most
_MARK: Any = {"foreign": b"yes"}  # tells the checker that no bot's producer sent it


def send(world: World, topic: str, rng: random.Random) -> None:
    """Send copies of messages that are there, in disorder, and messages that break the contract."""
    messages = committed_messages(topic, world.kafka.bootstrap_servers)
    partition, _ = rng.choice(sorted(messages))
    recent = [message for place, message in sorted(messages.items()) if place[0] == partition][-_COPIES:]
    producer = Producer(
        {"bootstrap.servers": world.kafka.bootstrap_servers, "message.max.bytes": 2 * _OVERSIZE}
    )
    rng.shuffle(recent)
    wrong = [_broken(message, rng) for message in recent]
    for message in recent:
        producer.produce(topic, message.value, message.key, partition, headers=_MARK)
    for key, value in wrong:
        producer.produce(topic, value, key, partition, headers=_MARK)
    left = producer.flush(30)
    world.history.add(
        "foreign", topic=topic, partition=partition, copies=len(recent), broken=len(wrong), left=left
    )


def repaired(world: World, topic: str, rng: random.Random) -> bytes:
    """Return a message that keeps the contract and is of no event that was there before."""
    messages = committed_messages(topic, world.kafka.bootstrap_servers)
    fields = next(message.fields for message in messages.values() if not message.is_foreign)
    return json.dumps(fields | {"event_id": _event(rng)}).encode()


def _event(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def _broken(message: Message, rng: random.Random) -> tuple[bytes | None, bytes | None]:
    """Return a key and a value that the contract does not allow."""
    key, value = message.key, message.value or b""
    # An event of its own, so that it is not taken for a copy.
    fields = message.fields | {"event_id": _event(rng)}

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
