"""A second thread for warehouse calls, so that the main loop stays alive while it waits."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

from crmbot_consumer.warehouse import Warehouse
from crmbot_core.errors import StuckError
from crmbot_core.telemetry import Health, Logger

_BEAT_SECONDS = 1.0
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Loader:
    """Runs calls of one warehouse in a separate thread, one after another.

    A load, or a look-up in a large table, may take longer than the liveness probe allows. The main loop keeps
    sending beats while it waits.

    Attributes:
        longest_seconds: timeout of a call.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        health: Health,
        stop: threading.Event,
        logger: Logger,
        *,
        drain_seconds: float,
        longest_seconds: float,
    ) -> None:
        """Start the thread.

        Args:
            warehouse: its running statement is cancelled on a timeout.
            health: receives the main loop's beats.
            stop: set on shutdown.
            logger: the consumer's logger.
            drain_seconds: timeout of a running statement on shutdown or when partitions are revoked.
            longest_seconds: timeout of a statement otherwise.
        """
        self._warehouse = warehouse
        self._health = health
        self._stop = stop
        self._logger = logger
        self._drain_seconds = drain_seconds
        self.longest_seconds = longest_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")

    def start(
        self,
        call: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> "Future[_Result]":
        """Submit a call, to run after all earlier ones."""
        return self._thread.submit(call, *arguments, **named)

    def result(self, work: "Future[_Result]") -> _Result:
        """Wait for a call; return its result or raise its exception.

        Raises:
            StuckError: the call timed out and is cancelled.
        """
        deadline = time.monotonic() + self.longest_seconds
        while not wait([work], timeout=_BEAT_SECONDS).done:
            self._health.beat()
            if self._stop.is_set():
                self.drain(work)
            elif time.monotonic() > deadline:
                self._warehouse.cancel()
                raise StuckError(
                    f"stuck: a statement in the warehouse takes more than {self.longest_seconds:.0f} s"
                )
        return work.result()

    def run(
        self,
        call: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Result:
        """Submit a call and wait for it, see `result`."""
        return self.result(self.start(call, *arguments, **named))

    def drain(self, work: "Future[_Result]") -> None:
        """Wait for a call up to `drain_seconds`, then cancel its statement."""
        if not wait([work], timeout=self._drain_seconds).done:
            self._logger.warning("load cancelled: it exceeded the drain timeout")
            self._warehouse.cancel()

    def close(self) -> None:
        """Wait for the remaining calls, then end the thread."""
        self._thread.shutdown()
