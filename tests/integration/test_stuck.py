"""A service that gets nowhere while more and more waits ends with 1; one that has nothing to do does not."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Producer

from crmbot_consumer.kafka import Subscription
from crmbot_consumer.run import ConsumerRun
from crmbot_consumer.session import Session
from crmbot_consumer.settings import ConsumerSettings
from crmbot_core.kafka import checked_settings
from crmbot_core.settings import load
from crmbot_core.telemetry import Logger
from devstack import Kafka
from tests.integration.messages import action, send
from tests.integration.road import Road, Service, wait_until

MINUTES = 0.1
SECONDS = MINUTES * 60
STUCK = {"STUCK_MINUTES": str(MINUTES)}
NOWHERE = "host=127.0.0.1 port=1 user=nobody dbname=nothing"


def topic(road: Road) -> str:
    return f"crm_bot_actions_{road.mrf}"


def waits(service: Service) -> list[str]:
    """Return when it said that it waits."""
    return [event["timestamp"] for event in service.events if event["event"] == "waiting"]


def waited_longer_than_allowed(service: Service, begin: float) -> bool:
    """Tell whether it said so much later than `begin` that it waits."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin + 2 * SECONDS))
    return any(moment > since for moment in waits(service))


def ends_while(service: Service, more_comes: Callable[[], None], seconds: float = 90) -> str:
    """Let more come until the service has ended with 1; return its last line."""

    def has_ended() -> bool:
        more_comes()
        return service.process.poll() is not None

    wait_until(has_ended, f"{service.log} has ended", seconds)
    assert service.exit_code() == 1
    return service.last_words


def test_without_a_warehouse_a_consumer_ends_when_messages_come_and_not_before(road: Road) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, 1)])
    begin = time.time()
    consumer = road.consume("actions", WAREHOUSE_DSN=NOWHERE, **STUCK)
    wait_until(lambda: waited_longer_than_allowed(consumer, begin), "it waits for the warehouse")
    assert consumer.process.poll() is None
    line = ends_while(consumer, lambda: send(road.bootstrap, topic(road), [action(road.mrf, 2)]))
    assert line.startswith("crmbot-consumer: stuck: no progress for")
    assert "the warehouse does not answer" in line


def test_a_client_that_brings_nothing_ends_the_consumer(road: Road) -> None:
    # The broker holds its answers back until they are large.
    held_back = {"KAFKA_FETCH_MIN_BYTES": "100000000", "KAFKA_FETCH_WAIT_MAX_MS": "50000"}
    consumer = road.consume("actions", **held_back, **STUCK)
    wait_until(lambda: consumer.get("/readyz")[0] == 200, "the consumer is ready")
    line = ends_while(consumer, lambda: send(road.bootstrap, topic(road), [action(road.mrf, 1)]))
    assert "no messages received from Kafka" in line


def test_consumers_without_work_or_without_partitions_go_on(road: Road) -> None:
    consumers = [road.consume("actions", **STUCK) for _ in range(4)]  # of three partitions
    wait_until(lambda: all(c.get("/readyz")[0] == 200 for c in consumers), "all are ready")
    producer = Producer({"bootstrap.servers": road.bootstrap, "transactional.id": f"aborting-{road.mrf}"})
    producer.init_transactions(10)
    begin = time.monotonic()

    def aborted_for_long() -> bool:
        producer.begin_transaction()
        producer.produce(topic(road), b"never to be seen", b"L1", partition=0)
        producer.flush(10)
        producer.abort_transaction(10)
        return time.monotonic() > begin + 3 * SECONDS

    wait_until(aborted_for_long, "aborted transactions for longer than is allowed")
    assert [c.process.poll() for c in consumers] == [None] * 4
    send(road.bootstrap, topic(road), [action(road.mrf, 1)])
    wait_until(lambda: road.in_warehouse("actions") == 1, "the row")


def test_a_frozen_broker_is_waited_for(road: Road, kafka: Kafka) -> None:
    consumer = road.consume("actions", **STUCK)
    wait_until(lambda: consumer.get("/readyz")[0] == 200, "the consumer is ready")
    os.kill(kafka.pid, signal.SIGSTOP)
    try:
        thaw = time.monotonic() + 3 * SECONDS
        wait_until(lambda: time.monotonic() > thaw, "the broker was frozen for longer than is allowed")
        assert consumer.process.poll() is None
    finally:
        os.kill(kafka.pid, signal.SIGCONT)
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in range(1, 11)])
    wait_until(lambda: road.in_warehouse("actions") == 10, "all rows")
    assert consumer.process.poll() is None


class SessionsAtEachWait:
    """Stands where the logger does: counts what of sessions is still in memory while the consumer waits."""

    def __init__(self, stop: threading.Event, waits: int) -> None:
        self.counts: list[int] = []
        self._stop, self._waits = stop, waits

    def warning(self, event: str, **fields: object) -> None:
        if event == "waiting":
            assert "no space" in str(fields["reason"])
            self.counts.append(sum(isinstance(one, Session | Subscription) for one in gc.get_objects()))
        if len(self.counts) == self._waits:
            self._stop.set()

    def info(self, event: str, **fields: object) -> None:
        """What goes well is not counted."""


def test_failed_loads_leave_nothing_in_memory(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, 1)])
    road.query(
        "CREATE FUNCTION full_{actions}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"
    )
    road.query("CREATE TRIGGER no_space BEFORE INSERT ON {actions} EXECUTE FUNCTION full_{actions}()")
    for name, value in road.environment(STREAM="actions").items():
        monkeypatch.setenv(name, value)
    stop = threading.Event()
    sessions = SessionsAtEachWait(stop, waits=3)
    ConsumerRun(load(ConsumerSettings), checked_settings(), stop, cast(Logger, sessions)).run()
    assert sessions.counts == [0, 0, 0]


def test_without_a_broker_a_producer_ends_when_rows_come_and_not_before(road: Road) -> None:
    road.backfill(100)
    begin = time.time()
    producer = road.produce("actions", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", **STUCK)
    wait_until(lambda: waited_longer_than_allowed(producer, begin), "it waits for the broker", 90)
    assert producer.process.poll() is None
    road.start("crmbot-generator", "live", "--rate", "20")
    line = ends_while(producer, lambda: None)
    assert line.startswith("crmbot-producer: stuck: no progress for")
    assert "Kafka does not answer" in line
