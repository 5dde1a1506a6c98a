"""The thread that works in the warehouse, and the main loop's waiting for it."""

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
    """Runs calls of one warehouse one after another in a thread of its own.

    A load, or a look-up in a large table, may take longer than the liveness probe has patience. The main loop
    shows that it is alive while it waits for one.

    Attributes:
        longest_seconds: after which a call is given up.
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
            warehouse: whose running statement is cancelled when it takes too long.
            health: of the main loop.
            stop: tells that the consumer has to end.
            logger: of the consumer.
            drain_seconds: how long a statement may run on when the consumer, or a partition's, has to end.
            longest_seconds: how long it may run otherwise.
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
        """Have a call made when those before it have ended."""
        return self._thread.submit(call, *arguments, **named)

    def result(self, work: "Future[_Result]") -> _Result:
        """Wait for a call, and return or raise what it does.

        Raises:
            StuckError: it takes too long, and is cancelled.
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
        """Make a call, and wait for it as `result` does."""
        return self.result(self.start(call, *arguments, **named))

    def drain(self, work: "Future[_Result]") -> None:
        """Wait for a call within the budget; then have its statement cancelled."""
        if not wait([work], timeout=self._drain_seconds).done:
            self._logger.warning("the running load takes too long: cancelled")
            self._warehouse.cancel()

    def close(self) -> None:
        """Wait for the calls that are left."""
        self._thread.shutdown()
