"""Rows that Kafka cannot carry do not stop the road, nor do a wrong clock and topics with wrong settings."""

import sqlite3
import time
from contextlib import closing
from uuid import uuid4

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from crmbot_core.contracts import ACTIONS, Stub
from crmbot_core.kafka import admin_client
from crmbot_producer.committed import committed_messages
from tests.integration.road import Road, Service, wait_until


def sent(service: Service, road: Road) -> bool:
    labels = f'{{mrf="{road.mrf}",stream="actions"}}'
    newest = f"crmbot_producer_last_transaction_id{labels} {road.in_file('actions'):.1f}"
    return newest in service.get("/metrics")[1]


def change(road: Road, transaction_id: int, column: str, value: str | bytes | memoryview) -> None:
    """Change a row; bytes are a text that need not be UTF-8, a memoryview is a BLOB."""
    new = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    with closing(sqlite3.connect(road.data / "actions.db")) as connection, connection:
        connection.execute(
            f"UPDATE actions SET {column} = {new} WHERE transaction_id = ?", (value, transaction_id)
        )


def add_copy(road: Road, transaction_id: int) -> None:
    """Add a row with the values of another one, but for its ids."""
    columns = ", ".join(
        c.name for c in ACTIONS.sqlite_columns if c.name not in ("transaction_id", "event_id")
    )
    with closing(sqlite3.connect(road.data / "actions.db")) as connection, connection:
        connection.execute(
            f"INSERT INTO actions (event_id, {columns}) SELECT ?, {columns} FROM actions "
            "WHERE transaction_id = ?",
            (str(uuid4()), transaction_id),
        )


def set_topic(road: Road, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, ACTIONS.topic(road.mrf), incremental_configs=[entry])
    admin = admin_client({"bootstrap.servers": road.bootstrap})
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(30)


def messages(road: Road) -> list[Message]:
    places = [TopicPartition(ACTIONS.topic(road.mrf), number, 0) for number in range(3)]
    return list(committed_messages({"bootstrap.servers": road.bootstrap}, places))


def stubs(road: Road) -> dict[int, str]:
    """Return why a row became a stub, by transaction_id."""
    found = [
        Stub.model_validate_json(m.value() or b"") for m in messages(road) if b'"stub"' in (m.value() or b"")
    ]
    return {stub.transaction_id: stub.stub for stub in found}


def test_rows_that_cannot_be_carried_do_not_stop_the_road(road: Road) -> None:
    road.backfill(1_000)
    newest = road.in_file("actions")
    change(road, 10, "client_name", memoryview(b"secret\xff"))
    change(road, 20, "client_name", "secret" * 400_000)
    change(road, 30, "event_id", b"\xff\xfe")
    change(road, newest, "event_id", b"\xff")
    producer = road.produce("actions", PAGE_ROWS="100")
    wait_until(lambda: sent(producer, road), "all is sent")
    assert stubs(road) == {10: "not_text", 20: "too_large"}
    assert len(messages(road)) == newest
    named = [event["transaction_id"] for event in producer.events if event["event"] == "row not carried"]
    assert named == [10, 20]
    assert not producer.logged("secret")
    labels = f'{{mrf="{road.mrf}",stream="actions"}}'
    assert f"crmbot_producer_rows_not_carried_total{labels} 2.0" in producer.get("/metrics")[1]
    assert producer.terminate() == 0
    # Its record's event_id is not UTF-8.
    add_copy(road, 1)
    producer = road.produce("actions")
    wait_until(lambda: sent(producer, road), "the next rows are sent")
    road.consume("actions")
    wait_until(
        lambda: road.in_warehouse("actions") == road.in_file("actions") - 4, "what can be loaded is loaded"
    )
    reasons = road.query("SELECT transaction_id, is_link FROM crm_bot_rejects WHERE topic = %s", _topic(road))
    assert sorted(reasons) == [(10, True), (20, True), (30, True), (newest, True)]


def _topic(road: Road) -> str:
    return ACTIONS.topic(road.mrf)


def test_a_topic_of_short_messages_is_respected(road: Road) -> None:
    road.backfill(3_000)
    set_topic(road, "max.message.bytes", "70000")
    change(road, 5, "client_name", "x" * 69_000)
    change(road, 6, "client_name", "x" * 30_000)
    producer = road.produce("actions")
    wait_until(lambda: sent(producer, road), "all is sent")
    assert stubs(road) == {5: "too_large"}
    assert len(messages(road)) == road.in_file("actions")
    set_topic(road, "max.message.bytes", "10000")
    refused = road.produce("actions")
    assert refused.exit_code() == 2
    assert "max.message.bytes" in refused.log.read_text()


def test_a_topic_with_wrong_settings_is_refused_until_they_are_put_right(road: Road) -> None:
    road.backfill(300)
    set_topic(road, "message.timestamp.type", "CreateTime")
    set_topic(road, "cleanup.policy", "compact")
    refused = road.produce("actions")
    assert refused.exit_code() == 2
    text = refused.log.read_text()
    assert "message.timestamp.type is CreateTime, not LogAppendTime" in text
    assert "cleanup.policy is compact, not delete" in text
    assert "crmbot-producer topics" in text
    said = road.must("crmbot-producer", "topics")
    assert f"{_topic(road)}: message.timestamp.type is LogAppendTime now, was CreateTime" in said
    assert road.must("crmbot-producer", "topics") == "all topics exist\n"
    producer = road.produce("actions")
    wait_until(lambda: sent(producer, road), "all is sent")


def test_a_clock_that_is_wrong_does_not_matter(road: Road) -> None:
    now = time.time()
    producer = Producer({"bootstrap.servers": road.bootstrap})
    errors = []
    for hours in (2, -40 * 24):
        producer.produce(
            _topic(road),
            b"{}",
            partition=0,
            timestamp=int((now + hours * 3600) * 1000),
            on_delivery=lambda error, _: errors.append(error),
        )
    assert producer.flush(30) == 0
    assert errors == [None, None]
    for message in messages(road):
        kind, milliseconds = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert abs(milliseconds / 1000 - now) < 60
