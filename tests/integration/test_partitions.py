"""Partitions are added: leads keep their partitions until `repartition` can move them in order."""

import sqlite3
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Message, Producer

from crmbot_core.contracts import ACTIONS, NATURE
from crmbot_core.errors import StoppedError
from crmbot_core.kafka import admin_client, partition_count
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import check_all_loaded
from crmbot_producer.partitions import partitions_of
from crmbot_producer.repartition import repartition
from crmbot_producer.settings import RecoverySettings
from devstack import Kafka
from devstack.services import Service
from tests.integration.pipeline import Pipeline, wait_until

REPARTITION = ("crmbot-producer", "repartition", "--stream", "actions")


def add_partitions(pipeline: Pipeline) -> str:
    return pipeline.check_output("crmbot-producer", "topics", PARTITIONS="7")


def partitions_of_rows(pipeline: Pipeline, after: int = 0) -> list[int]:
    return [
        partition
        for (partition,) in pipeline.query(
            "SELECT DISTINCT kafka_partition FROM {actions} WHERE transaction_id > %s ORDER BY 1", after
        )
    ]


def moved_leads(pipeline: Pipeline) -> int:
    """Return how many leads have rows in more than one partition."""
    return int(
        pipeline.query(
            "SELECT count(*) FROM (SELECT 1 FROM {actions} GROUP BY lead_id "
            "HAVING count(DISTINCT kafka_partition) > 1) moved"
        )[0][0]
    )


def rows_loaded_out_of_order(pipeline: Pipeline) -> int:
    """Return how many rows were loaded before an earlier row of their lead."""
    return int(
        pipeline.query(
            "SELECT count(*) FROM {actions} a JOIN {actions} b USING (lead_id) "
            "WHERE a.transaction_id < b.transaction_id AND a.loaded_at > b.loaded_at"
        )[0][0]
    )


def assert_audit_clean(pipeline: Pipeline) -> None:
    for stream in ("actions", "nature"):
        pipeline.produce(stream)
        pipeline.consume(stream)
    result = pipeline.audit()
    assert result["clean"], result


def stop(service: Service) -> None:
    assert service.terminate() == 0


def test_leads_keep_their_partitions_when_partitions_are_added(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    producer = pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    assert "crm_bot_actions" in add_partitions(pipeline)
    pipeline.run_bot()
    pipeline.wait_for_all("actions")
    assert not producer.logged("partitions without rows")
    stop(producer)
    pipeline.run_bot()
    producer = pipeline.produce("actions")
    pipeline.run_bot()
    pipeline.wait_for_all("actions")
    assert producer.logged("has 7 partitions, and rows stay in the first 3")
    assert producer.logged("crmbot-producer repartition --stream actions")
    assert partitions_of_rows(pipeline) == [0, 1, 2]
    assert moved_leads(pipeline) == 0
    stop(producer)
    assert_audit_clean(pipeline)


def test_topics_adds_partitions_and_removes_none(pipeline: Pipeline, kafka: Kafka) -> None:
    admin = admin_client({"bootstrap.servers": kafka.bootstrap_servers})
    topics = [f"crm_bot_{stream}_{pipeline.mrf}" for stream in ("actions", "nature")]
    output = add_partitions(pipeline)
    for topic in topics:
        assert f"{topic} has 7 partitions now" in output
    # The broker's metadata lags behind the controller's answer.
    wait_until(
        lambda: [partition_count(admin, topic) for topic in topics] == [7, 7], "both topics have 7 partitions"
    )
    assert add_partitions(pipeline) == "all topics exist\n"
    refused = pipeline.run("crmbot-producer", "topics", PARTITIONS="3")
    assert refused.returncode == 2
    assert "has 7 partitions, not 3" in refused.stderr
    assert [partition_count(admin, topic) for topic in topics] == [7, 7]


def test_repartition_spreads_new_rows_over_all_partitions_in_order(pipeline: Pipeline) -> None:
    pipeline.backfill(2_000)
    producer = pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    add_partitions(pipeline)
    stop(producer)
    before = pipeline.in_file("actions")
    assert "go to 7 partitions, those before to 3" in pipeline.check_output(*REPARTITION)
    assert "go to all 7 partitions already" in pipeline.check_output(*REPARTITION)
    pipeline.run_bot(seconds=2)
    producer = pipeline.produce("actions")
    pipeline.wait_for_all("actions")
    assert not producer.logged("partitions without rows")
    assert partitions_of_rows(pipeline, after=before) == list(range(7))
    assert moved_leads(pipeline) > 0
    assert rows_loaded_out_of_order(pipeline) == 0
    stop(producer)
    assert_audit_clean(pipeline)


def test_repartition_refuses_until_everything_is_loaded(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    stop(consumer)
    add_partitions(pipeline)
    pipeline.run_bot()
    newest = f"{pipeline.in_file('actions'):.1f}"
    wait_until(lambda: newest in producer.get("/metrics")[1], "all rows are sent")
    stop(producer)
    refused = pipeline.run(*REPARTITION)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "not everything is loaded yet" in line
    pipeline.run_bot()
    producer = pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    assert producer.logged("rows stay in the first 3")
    assert partitions_of_rows(pipeline) == [0, 1, 2]
    stop(producer)
    assert "go to 7 partitions" in pipeline.check_output(*REPARTITION)


def test_repartition_has_nothing_to_do_before_anything_is_sent(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    add_partitions(pipeline)
    assert "nothing of" in pipeline.check_output(*REPARTITION)
    pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    assert partitions_of_rows(pipeline) == list(range(7))


def test_repartition_fences_a_running_producer_which_resumes_with_all_partitions(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    producer = pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    add_partitions(pipeline)
    assert "go to 7 partitions" in pipeline.check_output(*REPARTITION)
    pipeline.run_bot()
    assert producer.exit_code() == 3
    assert producer.logged("fenced by another producer")
    assert_audit_clean(pipeline)
    assert partitions_of_rows(pipeline) == list(range(7))
    assert rows_loaded_out_of_order(pipeline) == 0


def test_a_producer_started_meanwhile_fences_repartition(
    pipeline: Pipeline, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.backfill(1_000)
    producer = pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    stop(producer)
    add_partitions(pipeline)
    settings = {"bootstrap.servers": kafka.bootstrap_servers}
    topic = ACTIONS.topic(pipeline.mrf)
    senders = []

    def check_and_get_fenced(*arguments: Any) -> None:  # noqa: ANN401  (passed on)
        check_all_loaded(*arguments)
        senders.append(PageSender(settings, pipeline.mrf, "actions", topic))

    monkeypatch.setattr("crmbot_producer.repartition.check_all_loaded", check_and_get_fenced)
    wanted = RecoverySettings(
        mrf=pipeline.mrf, stream="actions", data_dir=pipeline.data, warehouse_dsn=pipeline.dsn
    )
    with pytest.raises(StoppedError, match=r"fenced by another producer.*nothing is changed: stop"):
        repartition(wanted, settings)
    (sender,) = senders
    with sqlite3.connect(pipeline.data / "actions.db") as connection:
        ((source_id,),) = connection.execute("SELECT source_id FROM source").fetchall()
    assert sender.offsets()[source_id].partitions == 3
    sender.close()


def test_a_file_with_a_new_identity_keeps_its_number_of_partitions(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    producer = pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    stop(producer)
    add_partitions(pipeline)
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection, connection:
        connection.execute(
            "INSERT INTO source SELECT ?, stream, mrf, schema_version, "
            "(SELECT max(transaction_id) FROM actions), NULL FROM source",
            (str(uuid4()),),
        )
    pipeline.run_bot()
    producer = pipeline.produce("actions")
    pipeline.wait_for_all("actions")
    assert partitions_of_rows(pipeline) == [0, 1, 2]
    stop(producer)
    assert "go to 7 partitions" in pipeline.check_output(*REPARTITION)


def test_a_topic_recreated_with_fewer_partitions_stops_the_producer(pipeline: Pipeline, kafka: Kafka) -> None:
    pipeline.backfill(300)
    producer = pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    stop(producer)
    topic = ACTIONS.topic(pipeline.mrf)
    admin = admin_client({"bootstrap.servers": kafka.bootstrap_servers})
    admin.delete_topics([topic])[topic].result(30)
    wait_until(lambda: topic not in admin.list_topics(timeout=10).topics, "the topic is deleted")
    nature = NATURE.topic(pipeline.mrf)
    admin.delete_topics([nature])[nature].result(30)
    wait_until(lambda: nature not in admin.list_topics(timeout=10).topics, "the other topic is deleted")
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="2")
    stopped = pipeline.produce("actions")
    assert stopped.exit_code() == 2
    assert "has 2 partitions, but rows go to 3" in stopped.log.read_text()


def test_keys_are_partitioned_as_by_librdkafka(pipeline: Pipeline, kafka: Kafka) -> None:
    """As by its partitioner "consistent", so that other clients can find a lead's partition."""
    topic = ACTIONS.topic(pipeline.mrf)
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="7")
    keys = [f"L{number}".encode() for number in range(500)] + ["Лид №1".encode(), b"", b"\xff\x00"]
    found = {}

    def delivered(_: object, message: Message) -> None:
        found[message.key()] = message.partition()

    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "consistent"})
    for key in keys:
        producer.produce(topic, b"", key, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert [found[key] for key in keys] == partitions_of(keys, 7)
    assert set(found.values()) == set(range(7))
