"""Messages that were read from Kafka and are in no checkpoint yet."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import cast

from confluent_kafka import Message

from crmbot_consumer.messages import Messages


@dataclass
class Buffer:
    """Messages of the next checkpoint.

    Attributes:
        messages: by partition.
        count: of all messages.
        bytes: size of their values.
        oldest: when the first of them was read, on the monotonic clock.
        oldest_timestamp: its timestamp in Kafka, in seconds since 1970.
    """

    messages: defaultdict[int, Messages] = field(default_factory=lambda: defaultdict(Messages))
    count: int = 0
    bytes: int = 0
    oldest: float = 0.0
    oldest_timestamp: float = 0.0

    def add(self, messages: Sequence[Message]) -> None:
        """Add messages without errors."""
        if messages and not self.count:
            self.oldest, self.oldest_timestamp = time.monotonic(), messages[0].timestamp()[1] / 1000
        for partition, run in groupby(messages, key=Message.partition):
            columns = self.messages[cast("int", partition)]
            adjacent = list(run)
            columns.offsets += cast("Iterable[int]", map(Message.offset, adjacent))
            columns.keys += cast("Iterable[bytes | None]", map(Message.key, adjacent))
            columns.values += cast("Iterable[bytes | None]", map(Message.value, adjacent))
        self.count += len(messages)
        self.bytes += sum(map(len, messages))

    def drop(self, partition: int) -> None:
        """Drop the messages of a partition."""
        messages = self.messages.pop(partition, Messages())
        self.count -= len(messages)
        self.bytes -= sum(len(value or b"") for value in messages.values)

    def is_due(self, rows: int, size: int, seconds: float) -> bool:
        """Return whether there are `rows` messages or `size` bytes, or the oldest message waits `seconds`."""
        if self.count >= rows or self.bytes >= size:
            return True
        return self.count > 0 and time.monotonic() - self.oldest >= seconds
