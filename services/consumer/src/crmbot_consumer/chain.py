"""The chain of each source in a partition: decides which message is the next link. Pure.

Every message names the previous row that its source sent to the partition. So a loss is detected even if the
lost offsets were reused, and foreign messages are recognised.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from crmbot_core.contracts.lenient import fields_of
from crmbot_core.contracts.models import UUID_PATTERN
from crmbot_core.ledger import Gap, Position

_is_uuid = re.compile(UUID_PATTERN.removesuffix("$")).fullmatch
_BIGGEST = 2**63 - 1


class Link(NamedTuple):
    """The place in a chain that a message claims; the last two fields are None if unreadable."""

    source_id: str
    transaction_id: int
    previous_id: int | None
    kafka_partition: int | None


class Verdict(Enum):
    """The class of a message in its source's chain.

    NEXT: its next link. FILLER: the next link in an accepted gap. SEEN: not beyond the chain's end, a
    duplicate or foreign. FOREIGN: not from the source. GAP: behind a gap. SUPERSEDED: behind a gap, but will
    be sent again.
    """

    NEXT = auto()
    FILLER = auto()
    SEEN = auto()
    FOREIGN = auto()
    SUPERSEDED = auto()
    GAP = auto()


@dataclass(frozen=True)
class Orders:
    """Operators' decisions for a partition.

    Attributes:
        resends: by source_id, the offset below which messages behind a gap will be sent again, and all
            messages if the log was adopted.
        losses: accepted gaps: (source_id, gap).
        foreign: sources that belong to no bot.
    """

    resends: Mapping[str, int] = field(default_factory=dict)
    losses: Collection[tuple[str, Gap]] = ()
    foreign: Collection[str] = ()


class Chains:
    """The state of all chains of a partition while a batch is read in offset order."""

    def __init__(self, start: Position, orders: Orders) -> None:
        self.last_ids = dict(start.last_ids)
        self.gaps = dict(start.gaps)
        self._orders = orders
        self._is_adopted = start.log_epoch > 0

    def verdict(self, link: Link, offset: int) -> Verdict:
        """Classify a message without changing the state."""
        last = self.last_ids.get(link.source_id, 0)
        previous = link.previous_id
        if link.source_id in self._orders.foreign:
            return Verdict.FOREIGN
        is_resent = offset < self._orders.resends.get(link.source_id, 0)
        if is_resent and self._is_adopted:
            return Verdict.SUPERSEDED
        if link.transaction_id <= last:
            return Verdict.SEEN if self._gap_before(link) is None else Verdict.FILLER
        if previous is None or previous < last:
            return Verdict.FOREIGN
        if previous == last:
            return Verdict.NEXT
        if is_resent:
            return Verdict.SUPERSEDED
        is_accepted = (link.source_id, (last, previous)) in self._orders.losses
        return Verdict.NEXT if is_accepted else Verdict.GAP

    def follow(self, link: Link) -> None:
        """Advance the chain by a message that is NEXT or FILLER."""
        source, last = link.source_id, self.last_ids.get(link.source_id, 0)
        if link.transaction_id > last:
            self.last_ids[source] = link.transaction_id
            if link.previous_id is not None and link.previous_id > last:
                self.gaps[source] = (*self.gaps.get(source, ()), (last, link.previous_id))
            return
        filled = self._gap_before(link)
        gaps = [
            (link.transaction_id, gap[1]) if gap == filled else gap
            for gap in self.gaps[source]
            if gap != filled or link.transaction_id < gap[1]
        ]
        if gaps:
            self.gaps[source] = tuple(gaps)
        else:
            del self.gaps[source]

    def _gap_before(self, link: Link) -> Gap | None:
        """Return the accepted gap whose first missing row this message can be."""
        for gap in self.gaps.get(link.source_id, ()):
            if gap[0] == link.previous_id and gap[0] < link.transaction_id <= gap[1]:
                return gap
        return None


def read_link(value: bytes | None) -> Link | None:
    """Return the place that an invalid message claims, None if unreadable."""
    message = fields_of(value)
    source_id = message.get("source_id")
    transaction_id = _number(message.get("transaction_id"), 1)
    if transaction_id is None or not isinstance(source_id, str) or not _is_uuid(source_id):
        return None
    return Link(
        source_id,
        transaction_id,
        _number(message.get("previous_id"), 0),
        _number(message.get("kafka_partition"), 0),
    )


def _number(value: Any, least: int) -> int | None:  # noqa: ANN401  (whatever JSON holds)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and least <= value <= _BIGGEST else None
