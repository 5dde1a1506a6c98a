"""A foreign producer: sends messages that come from no bot, and copies of those that do."""

import json
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from confluent_kafka import KafkaError, Producer

from tests.chaos.messages import Message, committed_messages
from tests.chaos.world import World

_COPIES = 20
_OVERSIZE = 3_000_000  # bytes; the producer sends at most a megabyte
_MARK: Any = {"foreign": b"yes"}  # marks the message as foreign for the checker
_CLOCKS = (0, 7_200, -40 * 86_400)  # offsets in seconds: right, ahead, behind


class Foreign(NamedTuple):
    """A message to be sent."""

    partition: int
    key: bytes | None
    value: bytes | None


def send(world: World, topic: str, rng: random.Random) -> None:
    """Send copies out of order and to random partitions, contract violations, and forged messages."""
    messages = committed_messages(topic, world.kafka.bootstrap_servers)
    own = {spot: message for spot, message in messages.items() if not message.is_foreign}
    partition, _ = rng.choice(sorted(own))
    recent = [message for spot, message in sorted(messages.items()) if spot[0] == partition][-_COPIES:]
    rows = [m for spot, m in sorted(own.items()) if spot[0] == partition and "stub" not in m.fields]
    rng.shuffle(recent)
    partitions = world.partition_count(topic)
    batch = [Foreign(partition, *message[:2]) for message in recent]
    batch += [Foreign(rng.randrange(partitions), *message[:2]) for message in recent]
    batch += [Foreign(partition, *_broken(message, rng)) for message in rows[-_COPIES:]]
    batch += [Foreign(partition, None, value) for value in _malformed(rng)]
    batch += _forged(partition, rows, rng)
    send_all(world, topic, batch, rng)


def send_all(world: World, topic: str, messages: Sequence[Foreign], rng: random.Random) -> None:
    """Send messages with right and wrong timestamps; Kafka must accept all of them."""
    errors: list[str] = []

    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            errors.append(error.str())

    producer = Producer(
        {"bootstrap.servers": world.kafka.bootstrap_servers, "message.max.bytes": 2 * _OVERSIZE}
    )
    for message in messages:
        producer.produce(
            topic,
            message.value,
            message.key,
            message.partition,
            headers=_MARK,
            timestamp=int((time.time() + rng.choice(_CLOCKS)) * 1000),
            on_delivery=delivered,
        )
    undelivered = producer.flush(30)
    world.history.add("foreign", topic=topic, sent=len(messages), undelivered=undelivered)
    if undelivered or errors:
        world.add_finding(
            f"{topic}: {undelivered} foreign messages were not delivered: {sorted(set(errors))}"
        )


def event(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def changed(message: Message, **changes: Any) -> bytes:  # noqa: ANN401  (any JSON)
    """Return a message's value with changed fields."""
    return json.dumps(message.fields | changes, ensure_ascii=False).encode(errors="surrogateescape")


def _broken(message: Message, rng: random.Random) -> tuple[bytes | None, bytes | None]:
    """Return a key and a value that violate the contract."""
    key, value = message.key, message.value or b""
    new_event = event(rng)  # so that it is not a copy
    values = [
        b"",
        None,
        b"{",
        b"\xff\xfe" + value,
        value[: len(value) // 2],
        changed(message, event_id=new_event, schema_version=2),
        changed(message, event_id=new_event, occurred_at="yesterday"),
        changed(message, event_id=new_event, unknown="field"),
        changed(message, event_id=new_event, city="x" * _OVERSIZE),
        changed(message, event_id=new_event, city="zero\0byte"),
        changed(message, event_id=new_event, mrf="mrf99"),
        changed(message, event_id=new_event),  # a known transaction_id with another event
    ]
    if rng.random() < 0.1:
        return b"another key", changed(message, event_id=new_event)
    return key, rng.choice(values)


def _malformed(rng: random.Random) -> list[bytes]:
    """Return values that parsers, tables or terminals may fail on."""
    garbage = bytes(byte if byte not in b"\r\n" else 0 for byte in rng.randbytes(1_000_000))
    return [
        b'{"\\u0000":1}',
        b"[" * 100_000,
        b"1e999",
        b'{"[/x]":1}',
        b'{"transaction_id":' + b"9" * 5_000 + b"}",
        garbage,
    ]


def _forged(partition: int, rows: list[Message], rng: random.Random) -> list[Foreign]:
    """Return valid messages that claim to be the bot's next rows, or known ones.

    None is the exact next link of the chain, which could not be told from the bot's.
    """
    by_source: dict[str, dict[int, Message]] = {}
    for row in rows:
        by_source.setdefault(row.fields["source_id"], {})[row.fields["transaction_id"]] = row
    of_source = [found for found in by_source.values() if len(found) > 1][-1]
    before, newest = sorted(of_source)[-2:]
    message = of_source[before]
    place = {"kafka_partition": partition}
    known = message.fields["transaction_id"]
    changes: list[dict[str, Any]] = [
        {"transaction_id": 2**62, "previous_id": known},
        {"transaction_id": 2**62 + 1, "previous_id": 2**62},
        {"transaction_id": newest + 1_000_000, "previous_id": newest + 999_999},
        {"transaction_id": -known, "previous_id": 0},
        {"transaction_id": known, "previous_id": known},
        {"transaction_id": known, "city": "another"},
        {"transaction_id": 2**63, "previous_id": known},
    ]
    rng.shuffle(changes)
    return [
        Foreign(partition, message.key, changed(message, **place, event_id=event(rng), **change))
        for change in changes
    ]
