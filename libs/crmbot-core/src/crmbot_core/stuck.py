"""Notices a service that tries and tries, and gets nowhere."""

import time
from collections.abc import Callable

from crmbot_core.errors import StuckError


class StuckDetector:
    """Ends a service that has made no progress for `minutes` while more and more waits for it.

    `Health` tells whether the main loop goes round; this tells whether that is of any use. What waits is
    measured by where it ends: an offset or an id, which only rises.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._minutes = minutes
        self._clock = clock
        self.progressed()

    def progressed(self) -> None:
        """Note that work was done, that there is none, or that nobody can tell."""
        self._since = self._clock()
        self._first_end: int | None = None

    def look(self, end: int, reason: str) -> None:
        """Compare where the waiting work ends now with where it ended at the first look since the progress.

        Args:
            end: offset or id of the newest that waits.
            reason: why there is no progress, as far as known.

        Raises:
            StuckError: the time is over, and more waits.
        """
        if self._first_end is None:
            self._first_end = end
        more, minutes = end - self._first_end, (self._clock() - self._since) / 60
        if more > 0 and minutes >= self._minutes:
            raise StuckError(
                f"stuck: no progress for {minutes:.1f} minutes while the backlog grew by {more}; exiting for "
                f"a restart. Last reason: {reason}"
            )
