"""How a service ends: on SIGTERM or SIGINT, or with one line and an exit code that says why."""

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
    """Return an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = threading.Event()
    is_told = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal is_told
        if is_told:
            sys.exit(128 + signum)
        is_told = True
        # In a thread of its own: this one may hold the event's lock, in the middle of a `wait`.
        threading.Thread(target=stop.set, name="stop").start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


@contextmanager
def exit_codes(service: str) -> Iterator[None]:
    """End the process with the exit code of the failure: see `crmbot_core.errors`.

    An expected failure prints its one line; only an unexpected one is logged with a traceback.
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
        else:  # its default would show local variables
            traceback.print_exc()
        sys.exit(EXIT_CRASH)


def _one_line(text: str) -> str:
    """Escape what would break the line, such as a line feed in a file's name."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


class Backoff:
    """Waits between tries: from `first` doubling to `longest` seconds, half of it by chance."""

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def reset(self) -> None:
        """Start again from the shortest wait, after a success."""
        self._next = self._first

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        seconds = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, self._longest)
        return seconds
