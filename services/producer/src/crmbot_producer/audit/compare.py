"""The comparison of two ordered lists of rows: pure."""

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

from crmbot_producer.sqlite import RowDigest

Kind = Literal["missing", "twice", "changed", "extra", "rejected"]


class Difference(NamedTuple):
    """A row that is not in the warehouse exactly as it is in the bot's file.

    missing: in the file only; extra: in the warehouse only; twice: more than once in the warehouse;
    changed: with another event_id or other values; rejected: in the rejects table instead.
    """

    kind: Kind
    source_id: str
    transaction_id: int
    event_id: str


def differences(
    source_id: str, file: Iterator[RowDigest], warehouse: Iterator[RowDigest], rejected_ids: Collection[int]
) -> Iterator[Difference]:
    """Merge the rows of one source, both in the order of transaction_id, and yield where they differ.

    Args:
        source_id: for the result.
        file: rows of the bot's file, each id once.
        warehouse: rows of the warehouse, an id as often as it is there.
        rejected_ids: transaction ids of this source that are in the rejects table.
    """
    theirs = next(warehouse, None)
    previous = None
    for ours in file:
        while theirs is not None and theirs.transaction_id < ours.transaction_id:
            yield _surplus(source_id, theirs, previous)
            previous, theirs = theirs, next(warehouse, None)
        if theirs is None or theirs.transaction_id > ours.transaction_id:
            kind: Kind = "rejected" if ours.transaction_id in rejected_ids else "missing"
            yield Difference(kind, source_id, ours.transaction_id, ours.event_id)
            continue
        if theirs != ours:
            yield Difference("changed", source_id, ours.transaction_id, ours.event_id)
        previous, theirs = theirs, next(warehouse, None)
    while theirs is not None:
        yield _surplus(source_id, theirs, previous)
        previous, theirs = theirs, next(warehouse, None)


def _surplus(source_id: str, row: RowDigest, previous: RowDigest | None) -> Difference:
    is_repeated = previous is not None and previous.transaction_id == row.transaction_id
    return Difference("twice" if is_repeated else "extra", source_id, row.transaction_id, row.event_id)
