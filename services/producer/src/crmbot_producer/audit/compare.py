"""Compares a source's rows in the bot's file with those in the warehouse: pure functions.

All inputs are in the order of transaction_id and read once, so memory does not depend on the number of rows.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from crmbot_producer.sqlite import Identity, RowDigest

Kind = Literal["missing", "changed", "extra", "twice", "unlinked", "rejected", "repaired", "lost"]

# The first five are differences, the others are accounted for.
MEANINGS: dict[Kind, str] = {
    "missing": "in the file only",
    "changed": "in the warehouse with other values",
    "extra": "in the warehouse only",
    "twice": "an event that the warehouse has already",
    "unlinked": "not behind the row that its previous_id names",
    "rejected": "a dead letter instead",
    "repaired": "a dead letter that was put right and replayed",
    "lost": "in the warehouse only: the file lost it when it was restored",
}
DIFFERENCES = frozenset[Kind](("missing", "changed", "extra", "twice", "unlinked"))


class Difference(NamedTuple):
    """A row that is not in the warehouse exactly as it is in the bot's file; see `MEANINGS`."""

    kind: Kind
    source_id: str
    transaction_id: int
    event_id: str
    detail: str = ""


class DeadLetter(NamedTuple):
    """A dead letter that claims to be of a row.

    `is_link` tells whether it is part of its source's chain; `replayed_as` is the row in the table that
    replaced it, None if there is none.
    """

    transaction_id: int
    value: bytes | None
    is_replayed: bool
    replayed_as: RowDigest | None
    is_link: bool = True


def differences(
    identity: Identity,
    file: Iterable[RowDigest],
    warehouse: Iterable[RowDigest],
    dead_letters: Iterable[DeadLetter],
    is_of_row: Callable[[DeadLetter, RowDigest], bool],
    up_to: int,
) -> Iterator[Difference]:
    """Yield the differences between the rows of one source, and the rows accounted for in another way.

    Duplicates with the same id and event are not reported here: `twice` is checked over the whole table.

    Args:
        identity: the source.
        file: its rows in the bot's file, with unique ids.
        warehouse: its rows in the warehouse; ids may repeat.
        dead_letters: its dead letters; ids may repeat.
        is_of_row: tells whether a dead letter is of exactly this row, not only of its id.
        up_to: newer rows of the file may still be in transit.
    """
    rows, letters = _Ordered(warehouse), _Ordered(dead_letters)

    def difference(kind: Kind, row: RowDigest) -> Difference:
        return Difference(kind, identity.source_id, row.transaction_id, row.event_id)

    def surplus(row: RowDigest) -> Difference:
        # If an identity lost all its rows, ends_at belongs to another one and may have any value.
        lost_after = identity.ends_at if identity.ends_at > identity.starts_after else 0
        is_lost = lost_after < row.transaction_id <= (identity.lost_up_to or 0)
        return difference("lost" if is_lost else "extra", row)

    for ours in file:
        yield from map(surplus, rows.below(ours.transaction_id))
        is_rejected, repaired = False, set()
        for letter in letters.at(ours.transaction_id):
            if is_of_row(letter, ours):
                is_rejected |= not letter.is_replayed
                repaired.add(letter.replayed_as)
        is_there = False
        for theirs in rows.at(ours.transaction_id):
            is_repaired = theirs != ours and theirs in repaired
            if theirs.event_id != ours.event_id and (is_there or not is_repaired):
                yield difference("extra", theirs)
                continue
            if not is_there and theirs != ours:
                yield difference("repaired" if is_repaired else "changed", ours)
            is_there = True
        if not is_there and ours.transaction_id <= up_to:
            yield difference("rejected" if is_rejected else "missing", ours)
    yield from map(surplus, rows.rest())


class _Numbered(Protocol):
    @property
    def transaction_id(self) -> int: ...


_Item = TypeVar("_Item", bound=_Numbered)


class _Ordered(Generic[_Item]):
    """Items in the order of transaction_id, consumed with one item of lookahead."""

    def __init__(self, items: Iterable[_Item]) -> None:
        self._items = iter(items)
        self._next = next(self._items, None)

    def at(self, transaction_id: int) -> Iterator[_Item]:
        """Consume the items with this id; drop those before it."""
        for item in self.below(transaction_id + 1):
            if item.transaction_id == transaction_id:
                yield item

    def below(self, transaction_id: int) -> Iterator[_Item]:
        """Consume the items below this id."""
        while self._next is not None and self._next.transaction_id < transaction_id:
            item, self._next = self._next, next(self._items, None)
            yield item

    def rest(self) -> Iterator[_Item]:
        """Consume all remaining items."""
        while self._next is not None:
            item, self._next = self._next, next(self._items, None)
            yield item
