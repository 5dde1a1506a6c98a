"""Shutdown of a service on SIGTERM or SIGINT, exit codes of failures, and backoff between retries."""

import faulthandler
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from crmbot_core.errors import EXIT_CRASH, CrmBotError


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; a second signal exits at once.

    SIGUSR1 writes the stack of every thread to the standard error, even if the main thread hangs.
    """
    stop = threading.Event()
    is_stopping = False

    def handle(signum: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        if is_stopping:
            sys.exit(128 + signum)
        is_stopping = True
        # In another thread: this one may be inside `wait`, holding the event's lock.
        threading.Thread(target=stop.set, name="stop").start()

    faulthandler.register(signal.SIGUSR1, file=2)
    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


@contextmanager
def exit_codes(service: str) -> Iterator[None]:
    """Exit with the exit code of the failure, see `crmbot_core.errors`.

    An expected failure prints one line; only an unexpected one is logged with a traceback.
    """
    try:
        yield
    except CrmBotError as error:
        print(f"{service}: {_one_line(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:
        if structlog.is_configured():
            structlog.get_logger().exception("crashed", service=service)
        else:  # structlog's default shows local variables
            traceback.print_exc()
        sys.exit(EXIT_CRASH)


def _one_line(text: str) -> str:
    """Escape unprintable characters, such as a line feed in a file name."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class Backoff:
    """Exponential backoff from `first` to `longest` seconds; up to half of each wait is jitter."""

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def reset(self) -> None:
        """Go back to the shortest wait, after a success."""
        self._next = self._first

    def next(self) -> float:
        """Return the seconds to wait before the next retry."""
        seconds = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, self._longest)
        return seconds
