"""Reject limits per partition, which tell bad messages from a bad deployment. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from crmbot_consumer.messages import Messages, PartitionBatch
from crmbot_core.errors import StoppedError

WINDOW = 1_000


class Counts(NamedTuple):
    """Number of messages and of rejects in one batch of a partition."""

    messages: int
    rejects: int


class Limits(NamedTuple):
    """How many rejects in a row are too many, and which share of the recent messages may be rejected."""

    in_a_row: int
    share: float


@dataclass(frozen=True)
class Tally:
    """Accept and reject counts of a partition's recent messages.

    `in_a_row` counts the rejects at the partition's end. `batches`, newest first, are the fewest that contain
    WINDOW messages, or all.
    """

    in_a_row: int = 0
    batches: tuple[Counts, ...] = ()

    @classmethod
    def of(cls, batches: Iterable[Counts]) -> "Tally":
        """Return the tally of batches from the ledger, given newest first.

        The ledger does not record whether a partly rejected batch ends with rejects: `in_a_row` may be too
        low by these, once.
        """
        held = [batch for batch in batches if batch.messages]
        rejected = takewhile(lambda batch: batch.rejects == batch.messages, held)
        return cls(sum(batch.rejects for batch in rejected), _window(held))

    def after(self, messages: Messages, batch: PartitionBatch, limits: Limits) -> "Tally":
        """Return the tally after another batch, prepared from these messages.

        Raises:
            StoppedError: `limits.in_a_row` is reached anywhere in the batch, or more than `limits.share` of
                the window is rejected. The batch's own share has to exceed it, too: rejects of an earlier
                version must not stop one that accepts these messages.
        """
        counts = Counts(len(messages), len(batch.rejects))
        batches = _window([counts, *self.batches])
        if not batch.rejects:
            return Tally(0, batches)
        reasons = {reject.message.offset: reject.reason for reject in batch.rejects}
        run = self.in_a_row
        for offset in messages.offsets:
            run = run + 1 if offset in reasons else 0
            if run >= limits.in_a_row:
                raise _stopped(f"{run} messages in a row", batch.partition, offset, reasons[offset])
        total, rejects = map(sum, zip(*batches, strict=True))
        share = min(rejects / total, counts.rejects / counts.messages)
        if total >= WINDOW and share > limits.share:
            offset, reason = next(reversed(reasons.items()))
            raise _stopped(f"{rejects} of the last {total} messages", batch.partition, offset, reason)
        return Tally(run, batches)


def _window(batches: Iterable[Counts]) -> tuple[Counts, ...]:
    window, total = [], 0
    for batch in batches:
        window.append(batch)
        total += batch.messages
        if total >= WINDOW:
            break
    return tuple(window)


def _stopped(what: str, partition: int, offset: int, reason: str) -> StoppedError:
    return StoppedError(
        f"{what} break the contract, the newest at partition {partition} offset {offset} ({reason}): nothing "
        "of this batch was loaded. Deploy a consumer that knows these messages, or raise "
        "MAX_REJECTS_IN_A_ROW and MAX_REJECTS_SHARE to have them rejected"
    )
