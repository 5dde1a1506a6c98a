"""The producer's records on the state topic: first, foreign, undecodable, lost, and held back by others."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from crmbot_core.contracts import ACTIONS
from crmbot_core.kafka import STATE_TOPIC
from crmbot_producer.kafka import PageSender
from crmbot_producer.source_offset import SourceOffset, state_key
from tests.integration.road import Road, wait_until


def source_id(road: Road) -> str:
    with closing(sqlite3.connect(road.data / "actions.db")) as connection:
        ((found,),) = connection.execute("SELECT source_id FROM source").fetchall()
    return str(found)


@contextmanager
def sender_of(road: Road) -> Iterator[PageSender]:
    settings = {"bootstrap.servers": road.bootstrap}
    with closing(PageSender(settings, road.mrf, "actions", ACTIONS.topic(road.mrf))) as sender:
        yield sender


def write_record(road: Road, key: bytes | None, value: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": road.bootstrap})
    producer.produce(STATE_TOPIC, value, key, partition=0)
    assert producer.flush(30) == 0


def test_the_first_record_is_there_before_the_first_row(road: Road) -> None:
    road.backfill(100)
    with closing(sqlite3.connect(road.data / "actions.db")) as connection, connection:
        connection.execute("DELETE FROM actions")
    producer = road.produce("actions")
    wait_until(lambda: producer.logged('"sending"'), "it waits for rows")
    assert producer.terminate() == 0
    with sender_of(road) as sender:
        assert sender.is_topic_unused()
        assert sender.offsets() == {source_id(road): SourceOffset(source_id(road), 0, None)}


def test_without_records_but_with_messages_the_producer_stops(road: Road) -> None:
    road.backfill(300)
    road.send_all()
    write_record(road, state_key(road.mrf, "actions", source_id(road)), None)
    stopped = road.produce("actions")
    assert stopped.exit_code() == 3
    assert "the state was lost" in stopped.log.read_text()
    assert "crmbot-producer resend --stream actions" in stopped.log.read_text()


def test_foreign_records_harm_nobody(road: Road) -> None:
    road.backfill(300)
    road.send_all()
    for key in (b"\xff", b"", b"|", None, b"mrf98|actions|x", f"{road.mrf}|nature|x".encode()):
        write_record(road, key, b"what is this?")
    write_record(road, f"{road.mrf}|actions|\udcff".encode(errors="surrogateescape"), b"what is this?")
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "1")
    road.send_all()


def test_an_undecodable_record_of_its_own_stops_the_producer(road: Road) -> None:
    road.backfill(300)
    write_record(road, state_key(road.mrf, "actions", source_id(road)), b"what is this?")
    stopped = road.produce("actions")
    assert stopped.exit_code() == 3
    assert "cannot be decoded" in stopped.log.read_text()
    assert "crmbot-producer resend --stream actions" in stopped.log.read_text()


def test_a_record_behind_an_open_transaction_of_another_producer_is_not_missed(road: Road) -> None:
    other = Producer({"bootstrap.servers": road.bootstrap, "transactional.id": f"other-{road.mrf}"})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(STATE_TOPIC, b"{}", b"other", partition=0)
    assert other.flush(30) == 0
    with sender_of(road) as sender:
        sender.commit_offsets([SourceOffset("source", 7, "event")])
    with sender_of(road) as successor, ThreadPoolExecutor(1) as executor:
        coming = executor.submit(successor.offsets)
        with pytest.raises(TimeoutError):
            coming.result(timeout=2)
        other.abort_transaction(30)
        assert coming.result(timeout=30)["source"].transaction_id == 7


def test_records_that_are_older_than_what_the_topic_has_stop_the_producer(road: Road) -> None:
    """The state topic was restored from an older copy; partitions were raised in between."""
    road.backfill(300)
    road.send_all()
    with sender_of(road) as sender:
        older = sender.offsets()[source_id(road)]
    consumer = road.consume("actions")
    road.wait_for_all("actions")
    road.must("crmbot-producer", "topics", PARTITIONS="7")
    repartition = ("crmbot-producer", "repartition", "--stream", "actions")
    wait_until(lambda: "go to 7" in road.run(*repartition).stdout, "rows go to 7 partitions")
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "1")
    road.send_all()
    road.wait_for_all("actions")
    write_record(road, state_key(road.mrf, "actions", source_id(road)), older.encode())
    stopped = road.produce("actions")
    assert stopped.exit_code() == 3
    assert stopped.logged(f"has row {road.in_file('actions')}")
    assert stopped.logged("crmbot-producer resend --stream actions")
    road.must("crmbot-producer", "resend", "--stream", "actions", "--partitions", "7")
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "1")
    road.send_all()
    road.wait_for_all("actions")
    assert road.in_warehouse("actions") == road.in_file("actions")
    assert consumer.terminate() == 0


def test_a_stranger_s_message_with_a_greater_number_tells_nothing_of_the_records(road: Road) -> None:
    road.backfill(300)
    road.send_all()
    producer = Producer({"bootstrap.servers": road.bootstrap})
    for row in (301, 2**62, 2**63, "301", None):
        fields = {
            "kafka_partition": 0,
            "previous_id": 0,
            "transaction_id": row,
            "event_id": "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11",
            "source_id": source_id(road),
        }
        producer.produce(ACTIONS.topic(road.mrf), json.dumps(fields), "lead", partition=0)
    assert producer.flush(30) == 0
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "1")
    road.send_all()


def test_the_newest_row_is_found_behind_many_messages_of_others(road: Road) -> None:
    road.backfill(300)
    road.send_all()
    with sender_of(road) as sender:
        record = sender.offsets()[source_id(road)]
    producer = Producer({"bootstrap.servers": road.bootstrap})
    for partition in range(3):
        for number in range(1_500):
            producer.produce(ACTIONS.topic(road.mrf), b"%d" % number, "lead", partition=partition)
    assert producer.flush(30) == 0
    road.send_all()
    older = replace(record, transaction_id=200, event_id=None, last_ids={})
    write_record(road, state_key(road.mrf, "actions", source_id(road)), older.encode())
    stopped = road.produce("actions")
    assert stopped.exit_code() == 3
    assert stopped.logged(f"has row {road.in_file('actions')}")
