"""What was taken away from under the road, and what operators did about it: the bench's own notes."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.bot_file import BotRow
from tests.chaos.messages import Message, Spot


class Range(NamedTuple):
    """Offsets of a partition, `end` not among them."""

    partition: int
    start: int
    end: int

    def covers(self, spot: Spot) -> bool:
        return spot[0] == self.partition and self.start <= spot[1] < self.end


class Gap(NamedTuple):
    """Ids of a source in a partition that an operator gave up: above the first, up to the second."""

    partition: int
    source_id: str
    after_id: int
    up_to_id: int


@dataclass
class Log:
    """The messages of a topic until its log is rewritten: recreated, or restored from a copy.

    Attributes:
        messages: those committed; of the present log, only what retention has deleted.
        accepted: what retention deleted before it was loaded.
        ends: by partition, epoch and offset in the ledger up to which it speaks of this log; of the present
            log, nothing.
    """

    messages: dict[Spot, Message] = field(default_factory=dict)
    accepted: list[Range] = field(default_factory=list)
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Losses:
    """The notes about one topic.

    Attributes:
        files: the rows of each file that is gone.
        logs: the topic's logs, oldest first; the last one is the present one.
        gaps: gaps in chains that were accepted.
        sent_again: how often rows may be sent again: for each resend, and each state that was lost.
        odd: event_ids of rows that must end as dead letters.
        repaired: by event_id, the values of a dead letter that was put right and replayed.
    """

    files: list[list[BotRow]] = field(default_factory=list)
    logs: list[Log] = field(default_factory=lambda: [Log()])
    gaps: set[Gap] = field(default_factory=set)
    sent_again: int = 0
    odd: set[str] = field(default_factory=set)
    repaired: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rewrite(self, messages: dict[Spot, Message], ends: dict[int, tuple[int, int]]) -> None:
        """Note that the present log is over: with these messages, and loaded up to these ends."""
        self.logs[-1].messages |= messages
        self.logs[-1].ends = ends
        self.logs.append(Log())
