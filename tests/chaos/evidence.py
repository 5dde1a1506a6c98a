"""Reads SQLite, Kafka and the warehouse after a run.

Like the checker, it shares no code with the services. Everything is held in memory. After a topic's log was
rewritten, the same offsets hold other messages: the ledger's epochs and the recorded losses show which log a
batch, a row or a dead letter belongs to.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from tests.chaos.bot_file import BotRow, Source, bot_rows, sources
from tests.chaos.losses import Losses
from tests.chaos.messages import Message, Spot, committed_messages

Row = dict[str, Any]


class Place(NamedTuple):
    """Where a message is; `log` is the number of times the topic's log had been rewritten."""

    log: int
    partition: int
    offset: int


class Batch(NamedTuple):
    """A row of the ledger."""

    log: int
    partition: int
    epoch: int
    start: int
    end: int
    loaded_at: datetime
    loaded: int
    rejected: int
    duplicate: int
    superseded: int
    last_ids: dict[str, int]

    @property
    def is_adoption(self) -> bool:
        return self.start < 0


class DeadLetter(NamedTuple):
    """A row of the dead-letter table."""

    place: Place
    message: Message
    source_id: str | None
    transaction_id: int | None
    previous_id: int | None
    is_link: bool
    rejected_at: datetime


@dataclass
class Evidence:
    """Everything known about one topic.

    Attributes:
        topic: its name.
        bot: the rows of the bot's file.
        sources: its identities.
        logs: the committed messages of each log, the current one last.
        ledger: by partition, in order.
        orders: by partition, epoch and source_id, the offset below which a resend supersedes messages.
        dead_letters: by place.
        replays: event_id of each dead letter that was replayed.
        table: the rows of the table.
        losses: the losses recorded during the run.
    """

    topic: str
    bot: list[BotRow]
    sources: list[Source]
    logs: list[dict[Spot, Message]]
    ledger: dict[int, list[Batch]]
    orders: dict[tuple[int, int, str], int]
    table: list[Row]
    losses: Losses
    dead_letters: dict[Place, DeadLetter] = field(default_factory=dict)
    replays: dict[Place, str] = field(default_factory=dict)

    @cached_property
    def processed(self) -> dict[Place, tuple[Message, Batch]]:
        """The messages covered by the ledger's batches, without those that were lost."""
        offsets: dict[tuple[int, int], list[int]] = defaultdict(list)
        for log, messages in enumerate(self.logs):
            for partition, offset in sorted(messages):
                offsets[log, partition].append(offset)
        found = {}
        for batch in (batch for batches in self.ledger.values() for batch in batches):
            known = offsets[batch.log, batch.partition] if not batch.is_adoption else []
            for offset in known[bisect_left(known, batch.start) : bisect_left(known, batch.end)]:
                if not self._is_lost(batch, offset):
                    message = self.logs[batch.log][batch.partition, offset]
                    found[Place(batch.log, batch.partition, offset)] = (message, batch)
        return found

    @cached_property
    def rows(self) -> dict[Place | None, list[Row]]:
        """The table's rows by the place of their message; None for rows without a message."""
        found: dict[Place | None, list[Row]] = defaultdict(list)
        for row in self.table:
            found[self._place(row)].append(row)
        return found

    @property
    def own_messages(self) -> Iterator[tuple[Place, Message]]:
        """The messages of the bot's producer, processed or not, ordered by place."""
        for log, messages in enumerate(self.logs):
            for spot, message in sorted(messages.items()):
                if not message.is_foreign:
                    yield Place(log, *spot), message

    def is_drained(self) -> bool:
        """Return whether all rows of the file have arrived, and all messages are processed."""
        events = {str(row["event_id"]) for row in self.table}
        links = {(d.source_id, d.transaction_id) for d in self.dead_letters.values() if d.is_link}
        ends = {partition: batches[-1].end for partition, batches in self.ledger.items()}
        return all(
            row["event_id"] in events or (row["source_id"], row["transaction_id"]) in links
            for row in self.bot
        ) and all(offset < ends.get(partition, 0) for partition, offset in self.logs[-1])

    def _is_lost(self, batch: Batch, offset: int) -> bool:
        return any(span.covers((batch.partition, offset)) for span in self.losses.logs[batch.log].accepted)

    def _place(self, row: Row) -> Place | None:
        spot, event_id = (row["kafka_partition"], row["kafka_offset"]), str(row["event_id"])
        for log in range(len(self.logs)):
            place = Place(log, *spot)
            if self.replays.get(place) == event_id:
                return place
            if place in self.processed and self.processed[place][0].fields.get("event_id") == event_id:
                return place
        return None


def gather(topic: str, file: Path, bootstrap: str, dsn: str, losses: Losses) -> Evidence:
    """Read the data of a topic from SQLite, Kafka and the warehouse."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        table = connection.execute(f"SELECT * FROM {topic}".encode()).fetchall()
        rejects, replays, batches, orders = (
            connection.execute(f"SELECT * FROM {name} WHERE topic = %s".encode(), (topic,)).fetchall()
            for name in ("crm_bot_rejects", "crm_bot_replays", "crm_bot_ledger", "crm_bot_resends")
        )
    messages = losses.logs[-1].messages | committed_messages(topic, bootstrap)
    evidence = Evidence(
        topic=topic,
        bot=bot_rows(file, topic.split("_")[2]),
        sources=sources(file),
        logs=[*(log.messages for log in losses.logs[:-1]), messages],
        ledger=_ledger(batches, losses),
        orders={},
        table=table,
        losses=losses,
    )
    for order in orders:
        key = (order["kafka_partition"], order["log_epoch"], str(order["source_id"]))
        evidence.orders[key] = max(evidence.orders.get(key, 0), order["up_to_offset"])
    for row in rejects:
        place = _placed(row, losses)
        evidence.dead_letters[place] = DeadLetter(
            place,
            Message(row["message_key"], row["message_value"]),
            row["source_id"] and str(row["source_id"]),
            row["transaction_id"],
            row["previous_id"],
            row["is_link"],
            row["rejected_at"],
        )
    evidence.replays = {_placed(row, losses): str(row["event_id"]) for row in replays}
    return evidence


def _ledger(rows: list[Row], losses: Losses) -> dict[int, list[Batch]]:
    found: dict[int, list[Batch]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["log_epoch"], row["start_offset"])):
        partition, epoch, start = row["kafka_partition"], row["log_epoch"], row["start_offset"]
        found[partition].append(
            Batch(
                _log(partition, epoch, start, losses),
                partition,
                epoch,
                start,
                row["end_offset"],
                row["loaded_at"],
                row["rows_loaded"],
                row["rows_rejected"],
                row["rows_duplicate"],
                row["rows_superseded"],
                row["last_ids"],
            )
        )
    return found


def _placed(row: Row, losses: Losses) -> Place:
    partition, epoch, offset = row["kafka_partition"], row["log_epoch"], row["kafka_offset"]
    return Place(_log(partition, epoch, offset, losses), partition, offset)


def _log(partition: int, epoch: int, offset: int, losses: Losses) -> int:
    """Return the number of the log that an epoch's offset belongs to."""
    for number, log in enumerate(losses.logs[:-1]):
        if (epoch, offset) < log.ends.get(partition, (0, 0)):
            return number
    return len(losses.logs) - 1
