"""Looks at what is left after a run: do the promises hold?

Written apart from the services: it shares no code with them, reads SQLite, Kafka and the warehouse by itself
and knows of the contract only what it needs. Everything is held in memory.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from confluent_kafka import Consumer, KafkaError, TopicPartition
from psycopg.rows import dict_row

Place = tuple[int, int]  # partition and offset


class Message(NamedTuple):
    """A committed message. Foreign ones are marked by their header: no bot's producer sent them."""

    key: bytes | None
    value: bytes | None
    is_foreign: bool = False


@dataclass
class Evidence:
    """All that is known of one topic; the warehouse's rows and rejects by the place of their message."""

    topic: str
    bot: list[dict[str, Any]]
    messages: dict[Place, Message]
    rows: dict[Place, list[dict[str, Any]]]
    rejects: dict[Place, list[Message]]
    ledger: dict[int, list[dict[str, Any]]]


def gather(topic: str, file: Path, bootstrap: str, dsn: str) -> Evidence:
    """Read what SQLite, Kafka and the warehouse have of a topic."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        rows = connection.execute(f"SELECT * FROM {topic}".encode()).fetchall()
        rejects = connection.execute(
            "SELECT kafka_partition, kafka_offset, message_key, message_value "
            "FROM crm_bot_rejects WHERE topic = %s",
            (topic,),
        ).fetchall()
        ledger = connection.execute(
            "SELECT * FROM crm_bot_ledger WHERE topic = %s ORDER BY start_offset", (topic,)
        ).fetchall()
    evidence = Evidence(topic, _bot(file, topic.split("_")[2]), _messages(topic, bootstrap), {}, {}, {})
    for row in rows:
        evidence.rows.setdefault((row["kafka_partition"], row["kafka_offset"]), []).append(row)
    for reject in rejects:
        place = (reject["kafka_partition"], reject["kafka_offset"])
        evidence.rejects.setdefault(place, []).append(Message(reject["message_key"], reject["message_value"]))
    for batch in ledger:
        evidence.ledger.setdefault(batch["kafka_partition"], []).append(batch)
    return evidence


def violations(evidence: Evidence) -> Iterator[str]:
    """Yield every broken promise, in words."""
    for check in (
        _bot_to_kafka,
        _bot_to_warehouse,
        _fate_of_messages,
        _rows_come_from_messages,
        _order,
        _ledger,
    ):
        for violation in check(evidence):
            yield f"{evidence.topic}: {violation}"


def _bot_to_kafka(evidence: Evidence) -> Iterator[str]:
    """Every row of the bot is in Kafka once, in the order of its commits."""
    sent: Counter[str] = Counter()
    last_ids: dict[int, int] = {}
    for (partition, offset), message in sorted(evidence.messages.items()):
        if message.is_foreign:
            continue
        fields = json.loads(message.value or b"")
        sent[fields["event_id"]] += 1
        if fields["transaction_id"] <= last_ids.get(partition, 0):
            yield f"row {fields['transaction_id']} was sent to {(partition, offset)} out of order"
        last_ids[partition] = fields["transaction_id"]
    for row in evidence.bot:
        if sent[row["event_id"]] != 1:
            yield f"row {row['transaction_id']} of the bot is {sent[row['event_id']]} times in Kafka"


def _bot_to_warehouse(evidence: Evidence) -> Iterator[str]:
    """Every row of the bot is in the warehouse once, with the bot's values."""
    loaded: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for rows in evidence.rows.values():
        for row in rows:
            loaded[str(row["event_id"])].append(row)
    for row in evidence.bot:
        found = loaded.pop(row["event_id"], [])
        if len(found) != 1:
            yield f"row {row['transaction_id']} of the bot is {len(found)} times in the warehouse"
        for copy in found:
            for name, value in row.items():
                if value != _as_text(copy[name], value):
                    yield f"row {row['transaction_id']}: {name} is {copy[name]!r}, the bot has {value!r}"
    for event_id in loaded:
        yield f"event {event_id} is in the warehouse and not in the bot's file"


def _fate_of_messages(evidence: Evidence) -> Iterator[str]:
    """Every committed message is loaded, rejected byte for byte, or a later copy of a loaded one."""
    loaded = {str(row["event_id"]): place for place, rows in evidence.rows.items() for row in rows}
    for place, message in evidence.messages.items():
        rows, rejects = evidence.rows.get(place, []), evidence.rejects.get(place, [])
        fields = _fields(message)
        original = loaded.get(fields.get("event_id", "")) if fields else None
        is_copy = original is not None and original[0] == place[0] and original < place
        if len(rows) + len(rejects) > 1:
            yield f"message {place} has {len(rows)} rows and {len(rejects)} rejects"
        elif not rows and not rejects and not is_copy:
            yield f"message {place} is neither loaded nor rejected"
        if any((reject.key, reject.value) != (message.key, message.value) for reject in rejects):
            yield f"message {place} is not in the rejects byte for byte"


def _rows_come_from_messages(evidence: Evidence) -> Iterator[str]:
    """Nothing is in the warehouse that was not committed to Kafka."""
    for place in evidence.rows.keys() | evidence.rejects.keys():
        if place not in evidence.messages:
            yield f"{place} is in the warehouse, but was not committed to Kafka"
    for place, rows in evidence.rows.items():
        fields = _fields(evidence.messages.get(place, Message(None, None))) or {}
        for row in rows:
            if fields.get("event_id") != str(row["event_id"]):
                yield f"the row of {place} is not the message of {place}"


def _order(evidence: Evidence) -> Iterator[str]:
    """The rows of a lead are in one partition, and their numbers rise with their offsets."""
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    for (partition, offset), rows in sorted(evidence.rows.items()):
        for row in rows:
            lead = (str(row["source_id"]), row["lead_id"])
            before = seen.get(lead, (partition, 0))
            if before[0] != partition:
                yield f"lead {lead[1]} is in partitions {before[0]} and {partition}"
            if row["transaction_id"] <= before[1]:
                yield f"lead {lead[1]}: row {row['transaction_id']} at {(partition, offset)} is out of order"
            seen[lead] = (partition, row["transaction_id"])


def _ledger(evidence: Evidence) -> Iterator[str]:
    """The ledger's chain is unbroken, covers all messages, and counts what is there."""
    for partition in {place[0] for place in evidence.messages}:
        end = 0
        for batch in evidence.ledger.get(partition, []):
            where = f"ledger of partition {partition} at {batch['start_offset']}"
            if batch["start_offset"] != end:
                yield f"{where}: the batch before it ended at {end}"
            end = batch["end_offset"]
            span = range(batch["start_offset"], end)
            loaded = sum(len(evidence.rows.get((partition, offset), [])) for offset in span)
            rejected = sum(len(evidence.rejects.get((partition, offset), [])) for offset in span)
            messages = sum((partition, offset) in evidence.messages for offset in span)
            told = (batch["rows_loaded"], batch["rows_rejected"], batch["rows_duplicate"])
            found = (loaded, rejected, messages - loaded - rejected)
            if told != found:
                yield f"{where} tells of {told} rows, rejects and copies, but there are {found}"
        beyond = [place[1] for place in evidence.messages if place[0] == partition and place[1] >= end]
        if beyond:
            yield f"ledger of partition {partition} ends at {end}, before {len(beyond)} messages"


def _bot(file: Path, stream: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {stream} ORDER BY transaction_id")]


def _messages(topic: str, bootstrap: str) -> dict[Place, Message]:
    """Return the committed messages of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    found: dict[Place, Message] = {}
    ended: Counter[int] = Counter()
    while len(ended) < len(partitions):
        message = consumer.poll(30)
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


def _fields(message: Message) -> dict[str, Any] | None:
    try:
        fields = json.loads(message.value or b"")
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _as_text(value: object, like: object) -> object:
    """Return a value of the warehouse as the bot would have written it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return value if value is None or isinstance(like, int) else str(value)
