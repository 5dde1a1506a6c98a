"""A service that makes no progress while its backlog grows exits with 1; an idle one keeps running."""

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
from devstack.services import Service
from tests.integration.messages import action, send
from tests.integration.pipeline import Pipeline, wait_until

MINUTES = 0.1
SECONDS = MINUTES * 60
STUCK = {"STUCK_MINUTES": str(MINUTES)}
NO_WAREHOUSE = "host=127.0.0.1 port=1 user=nobody dbname=nothing"


def topic(pipeline: Pipeline) -> str:
    return f"crm_bot_actions_{pipeline.mrf}"


def wait_times(service: Service) -> list[str]:
    """Return the times at which the service logged that it waits."""
    return [event["timestamp"] for event in service.events if event["event"] == "waiting"]


def has_waited_beyond_the_limit(service: Service, begin: float) -> bool:
    """Return whether the service has logged that it waits more than twice STUCK_MINUTES after `begin`."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begin + 2 * SECONDS))
    return any(moment > since for moment in wait_times(service))


def exit_line_while(service: Service, send_more: Callable[[], None], seconds: float = 90) -> str:
    """Call `send_more` until the service has exited with 1; return the last line of its log."""

    def has_exited() -> bool:
        send_more()
        return service.process.poll() is not None

    wait_until(has_exited, f"the service of {service.log} exits", seconds)
    assert service.exit_code() == 1
    return service.last_line


def test_a_consumer_without_a_warehouse_exits_only_when_the_backlog_grows(pipeline: Pipeline) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1)])
    begin = time.time()
    consumer = pipeline.consume("actions", WAREHOUSE_DSN=NO_WAREHOUSE, **STUCK)
    wait_until(lambda: has_waited_beyond_the_limit(consumer, begin), "it waits for the warehouse")
    assert consumer.process.poll() is None
    line = exit_line_while(
        consumer, lambda: send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 2)])
    )
    assert line.startswith("crmbot-consumer: stuck: no progress for")
    assert "the warehouse does not answer" in line


def test_a_consumer_that_receives_no_messages_exits(pipeline: Pipeline) -> None:
    # The broker delays fetch responses until they are large.
    delayed = {"KAFKA_FETCH_MIN_BYTES": "100000000", "KAFKA_FETCH_WAIT_MAX_MS": "50000"}
    consumer = pipeline.consume("actions", **delayed, **STUCK)
    wait_until(lambda: consumer.get("/readyz")[0] == 200, "the consumer is ready")
    line = exit_line_while(
        consumer, lambda: send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1)])
    )
    assert "no messages received from Kafka" in line


def test_consumers_without_messages_or_without_partitions_keep_running(pipeline: Pipeline) -> None:
    consumers = [pipeline.consume("actions", **STUCK) for _ in range(4)]  # of three partitions
    wait_until(lambda: all(c.get("/readyz")[0] == 200 for c in consumers), "all consumers are ready")
    producer = Producer(
        {"bootstrap.servers": pipeline.bootstrap, "transactional.id": f"aborting-{pipeline.mrf}"}
    )
    producer.init_transactions(10)
    begin = time.monotonic()

    def aborted_for_long() -> bool:
        producer.begin_transaction()
        producer.produce(topic(pipeline), b"aborted", b"L1", partition=0)
        producer.flush(10)
        producer.abort_transaction(10)
        return time.monotonic() > begin + 3 * SECONDS

    wait_until(aborted_for_long, "transactions have been aborted for longer than STUCK_MINUTES")
    assert [c.process.poll() for c in consumers] == [None] * 4
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1)])
    wait_until(lambda: pipeline.in_warehouse("actions") == 1, "the row is loaded")


def test_the_consumer_waits_for_a_frozen_broker(pipeline: Pipeline, kafka: Kafka) -> None:
    consumer = pipeline.consume("actions", **STUCK)
    wait_until(lambda: consumer.get("/readyz")[0] == 200, "the consumer is ready")
    os.kill(kafka.pid, signal.SIGSTOP)
    try:
        thaw = time.monotonic() + 3 * SECONDS
        wait_until(
            lambda: time.monotonic() > thaw, "the broker has been frozen for longer than STUCK_MINUTES"
        )
        assert consumer.process.poll() is None
    finally:
        os.kill(kafka.pid, signal.SIGCONT)
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in range(1, 11)])
    wait_until(lambda: pipeline.in_warehouse("actions") == 10, "all rows are loaded")
    assert consumer.process.poll() is None


class SessionCounter:
    """A logger that counts the sessions in memory whenever the consumer waits."""

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
        """Ignored."""


def test_failed_loads_leave_nothing_in_memory(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1)])
    pipeline.query(
        "CREATE FUNCTION full_{actions}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"
    )
    pipeline.query("CREATE TRIGGER no_space BEFORE INSERT ON {actions} EXECUTE FUNCTION full_{actions}()")
    for name, value in pipeline.environment(STREAM="actions").items():
        monkeypatch.setenv(name, value)
    stop = threading.Event()
    sessions = SessionCounter(stop, waits=3)
    ConsumerRun(load(ConsumerSettings), checked_settings(), stop, cast(Logger, sessions)).run()
    assert sessions.counts == [0, 0, 0]


def test_a_producer_without_a_broker_exits_only_when_the_backlog_grows(pipeline: Pipeline) -> None:
    pipeline.backfill(100)
    begin = time.time()
    producer = pipeline.produce("actions", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", **STUCK)
    wait_until(lambda: has_waited_beyond_the_limit(producer, begin), "it waits for the broker", 90)
    assert producer.process.poll() is None
    pipeline.start("crmbot-generator", "load", "--rate", "20")
    line = exit_line_while(producer, lambda: None)
    assert line.startswith("crmbot-producer: stuck: no progress for")
    assert "Kafka does not answer" in line
