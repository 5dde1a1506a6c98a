"""Reads what is left after a run: SQLite, Kafka and the warehouse, and what an operator gave up on the way.

Written apart from the services, like the checker: it shares no code with them. Everything is held in memory.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from psycopg.rows import dict_row

Place = tuple[int, int]  # partition and offset
BotRow = dict[str, Any]


class Message(NamedTuple):
    """A committed message. Foreign ones are marked by their header: no bot's producer sent them."""

    key: bytes | None
    value: bytes | None
    is_foreign: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """What the message says, nothing if it is not a JSON object."""
        try:
            fields = json.loads(self.value or b"")
        except ValueError:
            return {}
        return fields if isinstance(fields, dict) else {}


class Range(NamedTuple):
    """Offsets of a partition, `end` not among them."""

    partition: int
    start: int
    end: int

    def covers(self, place: Place) -> bool:
        return place[0] == self.partition and self.start <= place[1] < self.end


@dataclass
class Losses:
    """What was taken away from under the road: rows with their file, messages by retention."""

    files: list[list[BotRow]] = field(default_factory=list)  # the rows of each file that is gone
    deleted: dict[Place, Message] = field(default_factory=dict)
    accepted: list[Range] = field(default_factory=list)  # deleted before they were loaded


@dataclass
class Evidence:
    """All that is known of one topic; the warehouse's rows and rejects by the place of their message."""

    topic: str
    bot: list[BotRow]
    messages: dict[Place, Message]
    rows: dict[Place, list[dict[str, Any]]]
    rejects: dict[Place, list[Message]]
    replays: set[Place]
    ledger: dict[int, list[dict[str, Any]]]
    losses: Losses

    def is_lost(self, place: Place) -> bool:
        """Tell whether retention deleted a message before it was loaded."""
        return any(span.covers(place) for span in self.losses.accepted)

    def is_drained(self) -> bool:
        """Tell whether all rows were sent, and all messages decided about."""
        sent = {message.fields.get("event_id") for message in self.messages.values()}
        ends = {partition: batches[-1]["end_offset"] for partition, batches in self.ledger.items()}
        return all(row["event_id"] in sent for row in self.bot) and all(
            offset < ends.get(partition, 0) for partition, offset in self.messages
        )


def gather(topic: str, file: Path, bootstrap: str, dsn: str, losses: Losses) -> Evidence:
    """Read what SQLite, Kafka and the warehouse have of a topic."""
    of_topic = "FROM {} WHERE topic = %s ORDER BY 2, 3"
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        rows = connection.execute(f"SELECT * FROM {topic}".encode()).fetchall()
        rejects, replays, ledger = (
            connection.execute(f"SELECT * {of_topic.format(table)}".encode(), (topic,)).fetchall()
            for table in ("crm_bot_rejects", "crm_bot_replays", "crm_bot_ledger")
        )
    bot = bot_rows(file, topic.split("_")[2])
    messages = losses.deleted | committed_messages(topic, bootstrap)
    evidence = Evidence(topic, bot, messages, {}, {}, set(map(_place, replays)), {}, losses)
    for row in rows:
        evidence.rows.setdefault(_place(row), []).append(row)
    for reject in rejects:
        message = Message(reject["message_key"], reject["message_value"])
        evidence.rejects.setdefault(_place(reject), []).append(message)
    for batch in ledger:
        evidence.ledger.setdefault(batch["kafka_partition"], []).append(batch)
    return evidence


def bot_rows(file: Path, stream: str) -> list[BotRow]:
    """Return all rows of a bot's file."""
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {stream} ORDER BY transaction_id")]


def committed_messages(topic: str, bootstrap: str) -> dict[Place, Message]:
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
    found: dict[Place, Message] = {}
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


def _place(row: dict[str, Any]) -> Place:
    return row["kafka_partition"], row["kafka_offset"]
