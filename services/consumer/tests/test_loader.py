"""Waiting for the warehouse's thread."""

import threading
from collections.abc import Callable
from typing import cast

import pytest
import structlog

from crmbot_consumer.loader import Loader
from crmbot_consumer.warehouse import Warehouse
from crmbot_core.errors import StuckError, TransientError
from crmbot_core.telemetry import Health


class SlowWarehouse:
    """A statement that runs until it is cancelled."""

    def __init__(self) -> None:
        self.is_cancelled = threading.Event()

    def cancel(self) -> None:
        self.is_cancelled.set()

    def statement(self) -> None:
        assert self.is_cancelled.wait(30)
        raise TransientError("canceling statement due to user request")


class Beats(Health):
    """Calls back at every beat."""

    def __init__(self, on_beat: Callable[[], None]) -> None:
        super().__init__(stale_seconds=120)
        self._on_beat = on_beat

    def beat(self) -> None:
        self._on_beat()


def loader(warehouse: SlowWarehouse, health: Health, stop: threading.Event, longest: float = 30) -> Loader:
    return Loader(
        cast("Warehouse", warehouse),
        health,
        stop,
        structlog.get_logger(),
        drain_seconds=0.01,
        longest_seconds=longest,
    )


def test_the_main_loop_is_alive_while_it_waits() -> None:
    done = threading.Event()
    waiting = loader(SlowWarehouse(), Beats(done.set), threading.Event())
    assert waiting.run(done.wait, 30), "the call ends because the loop has shown that it is alive"
    waiting.close()


def test_a_statement_that_takes_too_long_is_cancelled() -> None:
    warehouse = SlowWarehouse()
    waiting = loader(warehouse, Health(120), threading.Event(), longest=0)
    with pytest.raises(StuckError, match="takes more than"):
        waiting.run(warehouse.statement)
    waiting.close()
    assert warehouse.is_cancelled.is_set()


def test_a_consumer_that_has_to_end_does_not_wait_for_a_long_statement() -> None:
    warehouse, stop = SlowWarehouse(), threading.Event()
    waiting = loader(warehouse, Beats(stop.set), stop)
    with pytest.raises(TransientError):
        waiting.run(warehouse.statement)
    waiting.close()
