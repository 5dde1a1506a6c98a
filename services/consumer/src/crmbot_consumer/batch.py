"""Turns the messages of a partition into what one warehouse transaction holds: pure decisions, batch-wise."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple, TypeVar

from crmbot_consumer.ledger import Position
from crmbot_core.contracts import Stream
from crmbot_core.contracts.batch import BatchCheck, Row, copy_field
from crmbot_core.errors import TransientError

Item = TypeVar("Item")


class RawMessage(NamedTuple):
    """A message as it came from Kafka."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass
class Messages:
    """Messages of one partition in offset order, column by column, as the work on them goes."""

    offsets: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, position: int) -> RawMessage:
        return RawMessage(self.offsets[position], self.keys[position], self.values[position])


class Reject(NamedTuple):
    """A message that is not loaded, and why."""

    message: RawMessage
    reason: str


class LocatedRow(NamedTuple):
    """A row of the contract, ready for COPY, and the message that it came from."""

    row: Row
    message: RawMessage


@dataclass(frozen=True)
class PartitionBatch:
    """One partition's part of a batch. `start` and `end` are the partition's position before and after it.

    `suspects` are rows whose transaction_id does not rise: `settled` decides about them.
    """

    partition: int
    start: Position
    end: Position
    rows: Sequence[Row]
    offsets: Sequence[int]
    rejects: Sequence[Reject] = ()
    duplicates: int = 0
    suspects: Sequence[LocatedRow] = field(default=())


class Preparation:
    """Checks and sorts the messages of one stream of one MRF."""

    def __init__(self, stream: Stream, mrf: str) -> None:
        self._check = BatchCheck(stream)
        self._mrf = mrf.encode()
        index = stream.column_names.index
        self._id, self._event, self._source = index("transaction_id"), index("event_id"), index("source_id")
        self._lead, self._mrf_column = index("lead_id"), index("mrf")

    def __call__(
        self, partition: int, start: Position, messages: Messages, read_to: int = 0
    ) -> PartitionBatch:
        """Prepare messages of one partition, at least one.

        The batch covers the offsets up to `read_to` too, below which there are no other messages: were they
        left for the next one, retention could delete them, and that would look like a loss.

        Raises:
            TransientError: they do not rise from `start` on; the client mixed up what it fetched before.
        """
        first, last = messages.offsets[0], messages.offsets[-1]
        if first < start.next_offset or last - first < len(messages) - 1:
            raise TransientError(
                f"partition {partition}: offsets {first} to {last} came where {start.next_offset} is the next"
            )
        rows, positions, rejected = self._check(messages.values)
        rejects = [Reject(messages[position], reason) for position, reason in rejected]
        misplaced = self._misplaced(rows, [messages.keys[position] for position in positions])
        if misplaced:
            rejects += [Reject(messages[positions[index]], reason) for index, reason in misplaced.items()]
            rows, positions = _without(rows, misplaced), _without(positions, misplaced)
        last_ids, falling = self._rising(rows, start)
        suspects = [LocatedRow(rows[index], messages[positions[index]]) for index in falling]
        if falling:
            rows, positions = _without(rows, falling), _without(positions, falling)
        return PartitionBatch(
            partition,
            start,
            Position(start.topic_id, max(last + 1, read_to), last_ids),
            rows,
            [messages.offsets[position] for position in positions],
            sorted(rejects),
            suspects=suspects,
        )

    def settled(
        self, batch: PartitionBatch, is_known: Callable[[Collection[str]], Collection[str]]
    ) -> PartitionBatch:
        """Decide about the suspects: loaded before means duplicate, otherwise they are out of order.

        Args:
            batch: with suspects.
            is_known: returns those of the given event_ids that the warehouse has.
        """
        seen = {event.encode() for event in is_known([s.row[self._event].decode() for s in batch.suspects])}
        seen.update(row[self._event] for row in batch.rows)
        strangers = [suspect for suspect in batch.suspects if suspect.row[self._event] not in seen]
        out_of_order = [Reject(stranger.message, self._too_late(stranger, batch)) for stranger in strangers]
        return replace(
            batch,
            rejects=sorted([*batch.rejects, *out_of_order]),
            duplicates=batch.duplicates + len(batch.suspects) - len(strangers),
            suspects=(),
        )

    def _too_late(self, stranger: LocatedRow, batch: PartitionBatch) -> str:
        source, transaction_id = stranger.row[self._source].decode(), stranger.row[self._id].decode()
        newest = batch.end.last_ids[source]
        return (
            f"out of order: transaction_id {transaction_id} of source {source} came after {newest} "
            "and is not in the warehouse"
        )

    def _misplaced(self, rows: Sequence[Row], keys: Sequence[bytes | None]) -> dict[int, str]:
        """Return the indexes of rows in the wrong topic or under the wrong key, with the reason."""
        mrfs = {row[self._mrf_column] for row in rows}
        if [row[self._lead] for row in rows] == keys and mrfs <= {self._mrf}:
            return {}
        found = {}
        for index, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if row[self._mrf_column] != self._mrf:
                own, other = self._mrf.decode(), row[self._mrf_column].decode()
                found[index] = f"mrf: a row of {other} in a topic of {own}"
            elif key is None or row[self._lead] != copy_field(key):
                found[index] = "key: is not the lead_id, so the order of the lead's rows is not kept"
        return found

    def _rising(self, rows: Sequence[Row], start: Position) -> tuple[dict[str, int], list[int]]:
        """Return the highest ids by source after the rows, and the indexes of rows whose id does not rise."""
        last_ids = dict(start.last_ids)
        ids = [int(row[self._id]) for row in rows]
        sources = [row[self._source] for row in rows]
        if len(set(sources)) == 1:
            source = sources[0].decode()
            if ids[0] > last_ids.get(source, 0) and all(a < b for a, b in pairwise(ids)):
                last_ids[source] = ids[-1]
                return last_ids, []
        falling = []
        for index, (source, id_) in enumerate(zip(map(bytes.decode, sources), ids, strict=True)):
            if id_ > last_ids.get(source, 0):
                last_ids[source] = id_
            else:
                falling.append(index)
        return last_ids, falling


def _without(items: Sequence[Item], positions: Collection[int]) -> list[Item]:
    left_out = set(positions)
    return [item for position, item in enumerate(items) if position not in left_out]
