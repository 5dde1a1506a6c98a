"""A topic gets more partitions: leads stay where they are until they can move in order."""

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
from tests.integration.road import Road, Service, wait_until

REPARTITION = ("crmbot-producer", "repartition", "--stream", "actions")


def work(road: Road, seconds: int = 2) -> None:
    """Let the bot go on, mostly with leads that it knows."""
    road.must("crmbot-generator", "live", "--rate", "300", "--seconds", str(seconds))


def more_partitions(road: Road) -> str:
    return road.must("crmbot-producer", "topics", PARTITIONS="7")


def partitions_of_rows(road: Road, after: int = 0) -> list[int]:
    return [
        partition
        for (partition,) in road.query(
            "SELECT DISTINCT kafka_partition FROM {actions} WHERE transaction_id > %s ORDER BY 1", after
        )
    ]


def moved_leads(road: Road) -> int:
    """Return how many leads have rows in more than one partition."""
    return int(
        road.query(
            "SELECT count(*) FROM (SELECT 1 FROM {actions} GROUP BY lead_id "
            "HAVING count(DISTINCT kafka_partition) > 1) moved"
        )[0][0]
    )


def overtaken_rows(road: Road) -> int:
    """Return how many rows were loaded before an earlier row of their lead."""
    return int(
        road.query(
            "SELECT count(*) FROM {actions} a JOIN {actions} b USING (lead_id) "
            "WHERE a.transaction_id < b.transaction_id AND a.loaded_at > b.loaded_at"
        )[0][0]
    )


def audited(road: Road) -> None:
    for stream in ("actions", "nature"):
        road.produce(stream)
        road.consume(stream)
    result = road.audit()
    assert result["clean"], result


def stop(service: Service) -> None:
    assert service.terminate() == 0


def test_leads_stay_in_their_partitions_while_a_topic_grows(road: Road) -> None:
    road.backfill(1_000)
    producer = road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    assert "crm_bot_actions" in more_partitions(road)
    work(road)
    road.wait_for_all("actions")
    assert not producer.logged("partitions without rows")
    stop(producer)
    work(road)
    producer = road.produce("actions")
    work(road)
    road.wait_for_all("actions")
    assert producer.logged("has 7 partitions, and rows stay in the first 3")
    assert producer.logged("crmbot-producer repartition --stream actions")
    assert partitions_of_rows(road) == [0, 1, 2]
    assert moved_leads(road) == 0
    stop(producer)
    audited(road)


def test_topics_adds_partitions_and_removes_none(road: Road, kafka: Kafka) -> None:
    admin = admin_client({"bootstrap.servers": kafka.bootstrap_servers})
    topics = [f"crm_bot_{stream}_{road.mrf}" for stream in ("actions", "nature")]
    said = more_partitions(road)
    for topic in topics:
        assert f"{topic} has 7 partitions now" in said
    # The controller has answered; the broker's metadata follows.
    wait_until(lambda: [partition_count(admin, topic) for topic in topics] == [7, 7], "both have them")
    assert more_partitions(road) == "all topics exist\n"
    refused = road.run("crmbot-producer", "topics", PARTITIONS="3")
    assert refused.returncode == 2
    assert "has 7 partitions, not 3" in refused.stderr
    assert [partition_count(admin, topic) for topic in topics] == [7, 7]


def test_rows_are_spread_anew_once_everything_is_loaded(road: Road) -> None:
    road.backfill(2_000)
    producer = road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    more_partitions(road)
    stop(producer)
    before = road.in_file("actions")
    assert "go to 7 partitions, those before to 3" in road.must(*REPARTITION)
    assert "go to all 7 partitions already" in road.must(*REPARTITION)
    work(road, seconds=4)
    producer = road.produce("actions")
    road.wait_for_all("actions")
    assert not producer.logged("partitions without rows")
    assert partitions_of_rows(road, after=before) == list(range(7))
    assert moved_leads(road) > 0
    assert overtaken_rows(road) == 0
    stop(producer)
    audited(road)


def test_rows_are_not_spread_anew_before_everything_is_loaded(road: Road) -> None:
    road.backfill(1_000)
    producer, consumer = road.produce("actions"), road.consume("actions")
    road.wait_for_all("actions")
    stop(consumer)
    more_partitions(road)
    work(road)
    newest = f"{road.in_file('actions'):.1f}"
    wait_until(lambda: newest in producer.get("/metrics")[1], "all is sent")
    stop(producer)
    refused = road.run(*REPARTITION)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "not everything is loaded yet" in line
    work(road)
    producer = road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    assert producer.logged("rows stay in the first 3")
    assert partitions_of_rows(road) == [0, 1, 2]
    stop(producer)
    assert "go to 7 partitions" in road.must(*REPARTITION)


def test_before_anything_is_sent_there_is_nothing_to_spread_anew(road: Road) -> None:
    road.backfill(1_000)
    more_partitions(road)
    assert "nothing of" in road.must(*REPARTITION)
    road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    assert partitions_of_rows(road) == list(range(7))


def test_a_running_producer_is_fenced_and_goes_on_with_all_partitions(road: Road) -> None:
    road.backfill(1_000)
    producer = road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    more_partitions(road)
    assert "go to 7 partitions" in road.must(*REPARTITION)
    work(road)
    assert producer.exit_code() == 3
    assert producer.logged("fenced by another producer")
    audited(road)
    assert partitions_of_rows(road) == list(range(7))
    assert overtaken_rows(road) == 0


def test_a_producer_that_starts_meanwhile_makes_the_command_change_nothing(
    road: Road, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.backfill(1_000)
    producer = road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    stop(producer)
    more_partitions(road)
    settings = {"bootstrap.servers": kafka.bootstrap_servers}
    topic = ACTIONS.topic(road.mrf)
    senders = []

    def check_and_be_overtaken(*arguments: Any) -> None:  # noqa: ANN401  (handed on)
        check_all_loaded(*arguments)
        senders.append(PageSender(settings, road.mrf, "actions", topic))

    monkeypatch.setattr("crmbot_producer.repartition.check_all_loaded", check_and_be_overtaken)
    wanted = RecoverySettings(mrf=road.mrf, stream="actions", data_dir=road.data, warehouse_dsn=road.dsn)
    with pytest.raises(StoppedError, match=r"fenced by another producer.*nothing is changed: stop"):
        repartition(wanted, settings)
    (sender,) = senders
    with sqlite3.connect(road.data / "actions.db") as connection:
        ((source_id,),) = connection.execute("SELECT source_id FROM source").fetchall()
    assert sender.offsets()[source_id].partitions == 3
    sender.close()


def test_a_file_with_a_new_identity_keeps_its_number_of_partitions(road: Road) -> None:
    road.backfill(1_000)
    producer = road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    stop(producer)
    more_partitions(road)
    with closing(sqlite3.connect(road.data / "actions.db")) as connection, connection:
        connection.execute(
            "INSERT INTO source SELECT ?, stream, mrf, schema_version, "
            "(SELECT max(transaction_id) FROM actions), NULL FROM source",
            (str(uuid4()),),
        )
    work(road)
    producer = road.produce("actions")
    road.wait_for_all("actions")
    assert partitions_of_rows(road) == [0, 1, 2]
    stop(producer)
    assert "go to 7 partitions" in road.must(*REPARTITION)


def test_a_topic_made_again_with_fewer_partitions_stops_the_producer(road: Road, kafka: Kafka) -> None:
    road.backfill(300)
    producer = road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    stop(producer)
    topic = ACTIONS.topic(road.mrf)
    admin = admin_client({"bootstrap.servers": kafka.bootstrap_servers})
    admin.delete_topics([topic])[topic].result(30)
    wait_until(lambda: topic not in admin.list_topics(timeout=10).topics, "the topic is gone")
    nature = NATURE.topic(road.mrf)
    admin.delete_topics([nature])[nature].result(30)
    wait_until(lambda: nature not in admin.list_topics(timeout=10).topics, "the other topic is gone")
    road.must("crmbot-producer", "topics", PARTITIONS="2")
    stopped = road.produce("actions")
    assert stopped.exit_code() == 2
    assert "has 2 partitions, but rows go to 3" in stopped.log.read_text()


def test_keys_go_where_librdkafka_would_send_them(road: Road, kafka: Kafka) -> None:
    """Its partitioner "consistent", so that other clients can find a lead's partition."""
    topic = ACTIONS.topic(road.mrf)
    road.must("crmbot-producer", "topics", PARTITIONS="7")
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
