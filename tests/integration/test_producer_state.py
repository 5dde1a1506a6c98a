"""The producer's records on the state topic: first, foreign, undecodable, lost, and held back by others."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

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
