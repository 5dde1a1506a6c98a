"""The watermark travels unharmed, and tells a file that is not the one that was sent."""

from pathlib import Path

import pytest

from crmbot_core.errors import StoppedError
from crmbot_producer.watermark import Watermark, check_file

SENT = Watermark("source", 41, "event-41", 3)


def test_a_watermark_survives_kafka() -> None:
    assert Watermark.decode("source", SENT.encode()) == SENT


def test_a_watermark_may_leave_the_number_of_partitions_out() -> None:
    old = b'{"transaction_id": 41, "event_id": "event-41"}'
    assert Watermark.decode("source", old) == Watermark("source", 41, "event-41", None)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{}",
        b'{"transaction_id": "x", "event_id": "e"}',
        b'{"transaction_id": 41, "event_id": "e", "partitions": 0}',
        b"\xff",
    ],
)
def test_a_state_that_cannot_be_read_stops_the_producer(value: bytes) -> None:
    with pytest.raises(StoppedError, match="cannot be read"):
        Watermark.decode("source", value)


def test_the_file_that_was_sent_passes() -> None:
    check_file(SENT, "event-41", Path("actions.db"))
    check_file(Watermark("source", 0, None), None, Path("actions.db"))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        pytest.param(None, "is missing", id="shorter"),
        pytest.param("event-x", "is another one", id="other rows"),
    ],
)
def test_another_file_stops_the_producer_and_says_how_to_go_on(found: str | None, words: str) -> None:
    with pytest.raises(StoppedError, match=f"{words}.*new-source --database actions.db"):
        check_file(SENT, found, Path("actions.db"))
