"""Detects a service that keeps retrying without progress."""

import time
from collections.abc import Callable

from crmbot_core.errors import StuckError


class StuckDetector:
    """Stops a service that has made no progress for `minutes` while its backlog grows.

    `Health` shows whether the main loop runs; this shows whether it achieves anything. The backlog is
    measured by its newest offset or id, which only increases.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._minutes = minutes
        self._clock = clock
        self.progressed()

    def progressed(self) -> None:
        """Restart the timer: work was done, there is none, or the backlog is unknown."""
        self._since = self._clock()
        self._first_end: int | None = None

    def check(self, end: int, reason: str) -> None:
        """Compare the end of the backlog with its end at the first call since the last progress.

        Args:
            end: newest offset or id of the backlog.
            reason: why there is no progress, as far as known.

        Raises:
            StuckError: the time is up, and the backlog has grown.
        """
        if self._first_end is None:
            self._first_end = end
        more, minutes = end - self._first_end, (self._clock() - self._since) / 60
        if more > 0 and minutes >= self._minutes:
            raise StuckError(
                f"stuck: no progress for {minutes:.1f} minutes while the backlog grew by {more}; exiting for "
                f"a restart. Last reason: {reason}"
            )
