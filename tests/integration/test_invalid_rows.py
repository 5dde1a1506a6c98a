"""Rows that cannot be carried, topics with wrong settings, and producers with wrong clocks."""

import sqlite3
import time
from contextlib import closing
from uuid import uuid4

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from crmbot_core.contracts import ACTIONS, Stub
from crmbot_core.kafka import admin_client
from crmbot_producer.committed import committed_messages
from devstack.services import Service
from tests.integration.pipeline import Pipeline, wait_until


def sent(service: Service, pipeline: Pipeline) -> bool:
    labels = f'{{mrf="{pipeline.mrf}",stream="actions"}}'
    newest = f"crmbot_producer_last_transaction_id{labels} {pipeline.in_file('actions'):.1f}"
    return newest in service.get("/metrics")[1]


def change(pipeline: Pipeline, transaction_id: int, column: str, value: str | bytes | memoryview) -> None:
    """Change a row; bytes become text, valid UTF-8 or not, and a memoryview becomes a BLOB."""
    new = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection, connection:
        connection.execute(
            f"UPDATE actions SET {column} = {new} WHERE transaction_id = ?", (value, transaction_id)
        )


def add_copy(pipeline: Pipeline, transaction_id: int) -> None:
    """Add a copy of a row with new ids."""
    columns = ", ".join(
        c.name for c in ACTIONS.sqlite_columns if c.name not in ("transaction_id", "event_id")
    )
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection, connection:
        connection.execute(
            f"INSERT INTO actions (event_id, {columns}) SELECT ?, {columns} FROM actions "
            "WHERE transaction_id = ?",
            (str(uuid4()), transaction_id),
        )


def set_topic(pipeline: Pipeline, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, ACTIONS.topic(pipeline.mrf), incremental_configs=[entry])
    admin = admin_client({"bootstrap.servers": pipeline.bootstrap})
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(30)


def messages(pipeline: Pipeline) -> list[Message]:
    places = [TopicPartition(ACTIONS.topic(pipeline.mrf), number, 0) for number in range(3)]
    return list(committed_messages({"bootstrap.servers": pipeline.bootstrap}, places))


def stubs(pipeline: Pipeline) -> dict[int, str]:
    """Return the reasons of stubs by transaction_id."""
    found = [
        Stub.model_validate_json(m.value() or b"")
        for m in messages(pipeline)
        if b'"stub"' in (m.value() or b"")
    ]
    return {stub.transaction_id: stub.stub for stub in found}


def test_rows_that_cannot_be_carried_do_not_stop_the_pipeline(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    newest = pipeline.in_file("actions")
    change(pipeline, 10, "client_name", memoryview(b"secret\xff"))
    change(pipeline, 20, "client_name", "secret" * 400_000)
    change(pipeline, 30, "event_id", b"\xff\xfe")
    change(pipeline, newest, "event_id", b"\xff")
    producer = pipeline.produce("actions", PAGE_ROWS="100")
    wait_until(lambda: sent(producer, pipeline), "all rows are sent")
    assert stubs(pipeline) == {10: "not_text", 20: "too_large"}
    assert len(messages(pipeline)) == newest
    named = [event["transaction_id"] for event in producer.events if event["event"] == "row not carried"]
    assert named == [10, 20]
    assert not producer.logged("secret")
    labels = f'{{mrf="{pipeline.mrf}",stream="actions"}}'
    assert f"crmbot_producer_rows_not_carried_total{labels} 2.0" in producer.get("/metrics")[1]
    assert producer.terminate() == 0
    # The event_id in the producer's record is not UTF-8.
    add_copy(pipeline, 1)
    producer = pipeline.produce("actions")
    wait_until(lambda: sent(producer, pipeline), "the next rows are sent")
    pipeline.consume("actions")
    wait_until(
        lambda: pipeline.in_warehouse("actions") == pipeline.in_file("actions") - 4,
        "all valid rows are loaded",
    )
    reasons = pipeline.query(
        "SELECT transaction_id, is_link FROM crm_bot_rejects WHERE topic = %s", _topic(pipeline)
    )
    assert sorted(reasons) == [(10, True), (20, True), (30, True), (newest, True)]


def _topic(pipeline: Pipeline) -> str:
    return ACTIONS.topic(pipeline.mrf)


def test_the_topics_max_message_bytes_is_respected(pipeline: Pipeline) -> None:
    pipeline.backfill(3_000)
    set_topic(pipeline, "max.message.bytes", "70000")
    change(pipeline, 5, "client_name", "x" * 69_000)
    change(pipeline, 6, "client_name", "x" * 30_000)
    producer = pipeline.produce("actions")
    wait_until(lambda: sent(producer, pipeline), "all rows are sent")
    assert stubs(pipeline) == {5: "too_large"}
    assert len(messages(pipeline)) == pipeline.in_file("actions")
    set_topic(pipeline, "max.message.bytes", "10000")
    refused = pipeline.produce("actions")
    assert refused.exit_code() == 2
    assert "max.message.bytes" in refused.log.read_text()


def test_a_topic_with_wrong_settings_is_refused_until_they_are_corrected(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    set_topic(pipeline, "message.timestamp.type", "CreateTime")
    set_topic(pipeline, "cleanup.policy", "compact")
    refused = pipeline.produce("actions")
    assert refused.exit_code() == 2
    text = refused.log.read_text()
    assert "message.timestamp.type is CreateTime, not LogAppendTime" in text
    assert "cleanup.policy is compact, not delete" in text
    assert "crmbot-producer topics" in text
    said = pipeline.check_output("crmbot-producer", "topics")
    assert f"{_topic(pipeline)}: message.timestamp.type is LogAppendTime now, was CreateTime" in said
    assert pipeline.check_output("crmbot-producer", "topics") == "all topics exist\n"
    producer = pipeline.produce("actions")
    wait_until(lambda: sent(producer, pipeline), "all rows are sent")


def test_wrong_producer_clocks_are_ignored(pipeline: Pipeline) -> None:
    now = time.time()
    producer = Producer({"bootstrap.servers": pipeline.bootstrap})
    errors = []
    for hours in (2, -40 * 24):
        producer.produce(
            _topic(pipeline),
            b"{}",
            partition=0,
            timestamp=int((now + hours * 3600) * 1000),
            on_delivery=lambda error, _: errors.append(error),
        )
    assert producer.flush(30) == 0
    assert errors == [None, None]
    for message in messages(pipeline):
        kind, milliseconds = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert abs(milliseconds / 1000 - now) < 60
