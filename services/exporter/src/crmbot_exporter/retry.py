"""Retries a command of the exporter after transient failures."""

import time
from collections.abc import Callable

from crmbot_core.errors import TransientError
from crmbot_core.lifecycle import Backoff
from crmbot_core.telemetry import Logger

_ATTEMPTS = 5


def retried(action: Callable[[], None], log: Logger) -> None:
    """Run an action up to five times while it raises TransientError; the last attempt's error propagates."""
    backoff = Backoff(first=1.0)
    for attempt in range(1, _ATTEMPTS):
        try:
            return action()
        except TransientError as error:
            log.warning("retrying", attempt=attempt, reason=str(error))
            time.sleep(backoff.next())
    return action()
