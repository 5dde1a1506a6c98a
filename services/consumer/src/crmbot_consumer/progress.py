"""Whether the consumer gets anywhere: how long to wait before the next session, and when to give up."""

from collections.abc import Mapping

from crmbot_core.errors import TransientError
from crmbot_core.kafka import stable_ends
from crmbot_core.lifecycle import Backoff
from crmbot_core.stuck import StuckDetector


class Progress:
    """The progress of all sessions of a consumer.

    `failed` and `idle` raise StuckError if nothing was loaded for STUCK_MINUTES while the topic grew.

    Args:
        kafka: the Kafka client's settings.
        topic: which the consumer loads.
        stuck_minutes: STUCK_MINUTES.
    """

    def __init__(self, kafka: Mapping[str, str], topic: str, stuck_minutes: float) -> None:
        self._kafka = kafka
        self._topic = topic
        self._backoff = Backoff()
        self._stuck = StuckDetector(stuck_minutes)
        self._ends: Mapping[int, int] = {}

    def loaded(self) -> None:
        """Note that a checkpoint was committed."""
        self._backoff.reset()
        self._stuck.progressed()

    def failed(self, reason: str) -> float:
        """Note that a session has failed, and return the seconds to wait before the next one."""
        ends = self._new_ends()
        if ends is not None:
            self._stuck.check(sum(ends.values()), reason)
        return self._backoff.next()

    def idle(self, read_to: Mapping[int, int]) -> None:
        """Note that there is nothing to load.

        Args:
            read_to: by partition of the session, the offset up to which it was read. The session is not stuck
                if it has reached the ends that the previous call has seen, or has no partitions.
        """
        before = self._ends
        ends = self._new_ends()
        if ends is None:
            return
        if all(offset >= before.get(partition, 0) for partition, offset in read_to.items()):
            self._stuck.progressed()
        else:
            self._stuck.check(sum(ends.values()), "no messages received from Kafka")

    def _new_ends(self) -> Mapping[int, int] | None:
        """Return the partitions' present ends; None, which counts as progress, if the backlog is unknown."""
        try:
            self._ends = stable_ends(self._kafka, self._topic)
        except TransientError:
            self._stuck.progressed()
            return None
        return self._ends
