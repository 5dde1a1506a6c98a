"""Closing a Kafka client that may hang."""

import threading

import pytest

from crmbot_consumer.kafka import close_within
from crmbot_core.errors import StuckError, TransientError


def test_a_client_that_hangs_is_reported_with_the_error_before() -> None:
    never = threading.Event()

    def hang() -> None:
        never.wait()

    def fail_and_close() -> None:
        try:
            raise TransientError("Kafka is down")
        finally:
            close_within(0.01, hang)

    with pytest.raises(StuckError, match="has not closed within 0 s, after this error: Kafka is down"):
        fail_and_close()
    never.set()


def test_an_error_of_close_is_raised() -> None:
    def close() -> None:
        raise TransientError("cannot leave the group")

    with pytest.raises(TransientError, match="cannot leave the group"):
        close_within(30, close)
