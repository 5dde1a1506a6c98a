"""The losses that faults caused, and what operators did about them, as recorded during a run."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.bot_file import BotRow
from tests.chaos.messages import Message, Spot


class Range(NamedTuple):
    """Offsets of a partition, without `end`."""

    partition: int
    start: int
    end: int

    def covers(self, spot: Spot) -> bool:
        return spot[0] == self.partition and self.start <= spot[1] < self.end


class Gap(NamedTuple):
    """Ids of a source in a partition that were accepted as lost: above `after_id`, up to `up_to_id`."""

    partition: int
    source_id: str
    after_id: int
    up_to_id: int


@dataclass
class Log:
    """The messages of a topic until its log is rewritten: recreated, or restored from a copy.

    Attributes:
        messages: the committed messages; for the current log, only those that retention has deleted.
        accepted: ranges that retention deleted before they were loaded.
        ends: by partition, the epoch and the offset at which the ledger's entries for this log end; empty for
            the current log.
    """

    messages: dict[Spot, Message] = field(default_factory=dict)
    accepted: list[Range] = field(default_factory=list)
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Losses:
    """The losses of one topic.

    Attributes:
        files: the rows of each replaced file.
        logs: the topic's logs, oldest first; the last one is the current one.
        gaps: accepted gaps in chains.
        resends: how many times a row may have been sent again: once per `resend` and per lost state topic.
        invalid: event_ids of rows that must become dead letters.
        repaired: by event_id, the corrected values of a dead letter that was replayed.
    """

    files: list[list[BotRow]] = field(default_factory=list)
    logs: list[Log] = field(default_factory=lambda: [Log()])
    gaps: set[Gap] = field(default_factory=set)
    resends: int = 0
    invalid: set[str] = field(default_factory=set)
    repaired: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rewrite(self, messages: dict[Spot, Message], ends: dict[int, tuple[int, int]]) -> None:
        """Close the current log, with these messages, loaded up to these ends, and begin a new one."""
        self.logs[-1].messages |= messages
        self.logs[-1].ends = ends
        self.logs.append(Log())
