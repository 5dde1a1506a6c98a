"""When a service counts as stuck."""

import pytest

from crmbot_core.errors import StuckError
from crmbot_core.stuck import StuckDetector

REASON = "the warehouse does not answer"


class Clock:
    """A manual clock, in minutes."""

    minutes = 0.0

    def __call__(self) -> float:
        return self.minutes * 60


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def detector(clock: Clock) -> StuckDetector:
    return StuckDetector(15, clock)


def test_a_growing_backlog_without_progress_stops_the_service(detector: StuckDetector, clock: Clock) -> None:
    for minute in range(15):
        clock.minutes = minute
        detector.check(1_000 + minute, REASON)
    clock.minutes = 15
    with pytest.raises(StuckError) as caught:
        detector.check(1_020, REASON)
    assert caught.value.exit_code == 1
    text = str(caught.value)
    assert "15.0 minutes" in text
    assert "grew by 20;" in text
    assert REASON in text
    assert "\n" not in text


def test_a_constant_backlog_is_not_stuck(detector: StuckDetector, clock: Clock) -> None:
    for minute in range(1_000):
        clock.minutes = minute
        detector.check(1_000, REASON)


def test_progress_restarts_the_timer(detector: StuckDetector, clock: Clock) -> None:
    for minute in range(100):
        clock.minutes = minute
        detector.check(minute, REASON)
        if minute % 14 == 0:
            detector.progressed()
    clock.minutes = 98 + 15
    with pytest.raises(StuckError):
        detector.check(200, REASON)


def test_growth_before_the_first_look_does_not_count(detector: StuckDetector, clock: Clock) -> None:
    detector.check(10, REASON)
    detector.progressed()
    clock.minutes = 60
    detector.check(1_000, REASON)
    detector.check(1_000, REASON)
    with pytest.raises(StuckError, match="grew by 1;"):
        detector.check(1_001, REASON)
