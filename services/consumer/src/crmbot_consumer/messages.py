"""Data types of a batch: messages from Kafka, and the outcome of their preparation."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crmbot_consumer.chain import Link
from crmbot_core.contracts.batch import Row
from crmbot_core.contracts.digest import digest_of_text
from crmbot_core.ledger import Counts, Entry, Position


class RawMessage(NamedTuple):
    """A message as read from Kafka."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass
class Messages:
    """Messages of one partition in offset order, stored column by column, as they are processed."""

    offsets: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, position: int) -> RawMessage:
        return RawMessage(self.offsets[position], self.keys[position], self.values[position])


class Reject(NamedTuple):
    """A message that is not loaded, and why; `link` is the place that it claims, if readable."""

    message: RawMessage
    reason: str
    link: Link | None = None
    is_link: bool = False


class Suspect(NamedTuple):
    """A message of a row not beyond the end of its source's chain: a duplicate or foreign.

    `digest` is the row's, None if the message violates the contract. `reason` applies if it is rejected.
    """

    message: RawMessage
    link: Link
    digest: str | None
    reason: str


@dataclass(frozen=True)
class PartitionBatch:
    """One partition's part of a batch; `start` and `end` are the partition's position before and after it.

    `Preparation.settled` decides the suspects.
    """

    partition: int
    start: Position
    end: Position
    rows: Sequence[Row] = ()
    offsets: Sequence[int] = ()
    rejects: Sequence[Reject] = ()
    duplicates: int = 0
    superseded: int = 0
    suspects: Sequence[Suspect] = ()

    @property
    def entry(self) -> Entry:
        """The batch's row in the ledger."""
        counts = Counts(len(self.rows), len(self.rejects), self.duplicates, self.superseded)
        return Entry(self.partition, self.start.next_offset, self.end, counts)


class Copies(NamedTuple):
    """Rows and rejects in the warehouse with the source and id of a suspect.

    `rows` are (source_id, transaction_id, digest), `rejects` (source_id, transaction_id, md5 of the message).
    """

    rows: Collection[tuple[str, int, str]]
    rejects: Collection[tuple[str, int, str]]


def md5_of(message: RawMessage) -> str:
    """Return the md5 of a message's value, computed as in the warehouse's query on rejects."""
    return digest_of_text(message.value or b"")


def suspected_ids(batches: Collection[PartitionBatch]) -> Iterator[tuple[str, list[int]]]:
    """Yield each source_id of suspects with their transaction ids."""
    by_source: dict[str, set[int]] = {}
    for batch in batches:
        for suspect in batch.suspects:
            by_source.setdefault(suspect.link.source_id, set()).add(suspect.link.transaction_id)
    for source_id, ids in by_source.items():
        yield source_id, sorted(ids)
