"""The main loop waits for calls in the loader's thread."""

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


def test_the_main_loop_sends_beats_while_it_waits() -> None:
    done = threading.Event()
    subject = loader(SlowWarehouse(), Beats(done.set), threading.Event())
    assert subject.run(done.wait, 30), "the call returns because the loop has sent a beat"
    subject.close()


def test_a_statement_that_takes_too_long_is_cancelled() -> None:
    warehouse = SlowWarehouse()
    subject = loader(warehouse, Health(120), threading.Event(), longest=0)
    with pytest.raises(StuckError, match="takes more than"):
        subject.run(warehouse.statement)
    subject.close()
    assert warehouse.is_cancelled.is_set()


def test_shutdown_does_not_wait_for_a_long_statement() -> None:
    warehouse, stop = SlowWarehouse(), threading.Event()
    subject = loader(warehouse, Beats(stop.set), stop)
    with pytest.raises(TransientError):
        subject.run(warehouse.statement)
    subject.close()
