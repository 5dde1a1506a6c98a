"""The producer's records on the state topic: first, foreign, undecodable, lost, stale or not readable yet."""

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
from tests.integration.pipeline import Pipeline, wait_until


def source_id(pipeline: Pipeline) -> str:
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection:
        ((found,),) = connection.execute("SELECT source_id FROM source").fetchall()
    return str(found)


@contextmanager
def sender_of(pipeline: Pipeline) -> Iterator[PageSender]:
    settings = {"bootstrap.servers": pipeline.bootstrap}
    with closing(PageSender(settings, pipeline.mrf, "actions", ACTIONS.topic(pipeline.mrf))) as sender:
        yield sender


def write_record(pipeline: Pipeline, key: bytes | None, value: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": pipeline.bootstrap})
    producer.produce(STATE_TOPIC, value, key, partition=0)
    assert producer.flush(30) == 0


def test_the_first_record_is_written_before_the_first_row(pipeline: Pipeline) -> None:
    pipeline.backfill(100)
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection, connection:
        connection.execute("DELETE FROM actions")
    producer = pipeline.produce("actions")
    wait_until(lambda: producer.logged('"sending"'), "the producer waits for rows")
    assert producer.terminate() == 0
    with sender_of(pipeline) as sender:
        assert sender.is_topic_unused()
        assert sender.offsets() == {source_id(pipeline): SourceOffset(source_id(pipeline), 0, None)}


def test_without_records_but_with_messages_the_producer_stops(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    pipeline.send_all()
    write_record(pipeline, state_key(pipeline.mrf, "actions", source_id(pipeline)), None)
    stopped = pipeline.produce("actions")
    assert stopped.exit_code() == 3
    assert "the state was lost" in stopped.log.read_text()
    assert "crmbot-producer resend --stream actions" in stopped.log.read_text()


def test_foreign_state_records_are_ignored(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    pipeline.send_all()
    for key in (b"\xff", b"", b"|", None, b"mrf98|actions|x", f"{pipeline.mrf}|nature|x".encode()):
        write_record(pipeline, key, b"what is this?")
    write_record(
        pipeline, f"{pipeline.mrf}|actions|\udcff".encode(errors="surrogateescape"), b"what is this?"
    )
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    pipeline.send_all()


def test_an_undecodable_record_of_its_own_stops_the_producer(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    write_record(pipeline, state_key(pipeline.mrf, "actions", source_id(pipeline)), b"what is this?")
    stopped = pipeline.produce("actions")
    assert stopped.exit_code() == 3
    assert "cannot be decoded" in stopped.log.read_text()
    assert "crmbot-producer resend --stream actions" in stopped.log.read_text()


def test_a_record_behind_an_open_transaction_of_another_producer_is_not_missed(pipeline: Pipeline) -> None:
    other = Producer({"bootstrap.servers": pipeline.bootstrap, "transactional.id": f"other-{pipeline.mrf}"})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(STATE_TOPIC, b"{}", b"other", partition=0)
    assert other.flush(30) == 0
    with sender_of(pipeline) as sender:
        sender.commit_offsets([SourceOffset("source", 7, "event")])
    with sender_of(pipeline) as successor, ThreadPoolExecutor(1) as executor:
        offsets = executor.submit(successor.offsets)
        with pytest.raises(TimeoutError):
            offsets.result(timeout=2)
        other.abort_transaction(30)
        assert offsets.result(timeout=30)["source"].transaction_id == 7


def test_state_records_older_than_the_topic_stop_the_producer(pipeline: Pipeline) -> None:
    """The state topic is restored from a copy made before partitions were added."""
    pipeline.backfill(300)
    pipeline.send_all()
    with sender_of(pipeline) as sender:
        older = sender.offsets()[source_id(pipeline)]
    consumer = pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="7")
    repartition = ("crmbot-producer", "repartition", "--stream", "actions")
    wait_until(lambda: "go to 7" in pipeline.run(*repartition).stdout, "rows go to 7 partitions")
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    pipeline.send_all()
    pipeline.wait_for_all("actions")
    write_record(pipeline, state_key(pipeline.mrf, "actions", source_id(pipeline)), older.encode())
    stopped = pipeline.produce("actions")
    assert stopped.exit_code() == 3
    assert stopped.logged(f"has row {pipeline.in_file('actions')}")
    assert stopped.logged("crmbot-producer resend --stream actions")
    pipeline.check_output("crmbot-producer", "resend", "--stream", "actions", "--partitions", "7")
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    pipeline.send_all()
    pipeline.wait_for_all("actions")
    assert pipeline.in_warehouse("actions") == pipeline.in_file("actions")
    assert consumer.terminate() == 0


def test_foreign_messages_with_greater_ids_do_not_make_the_records_stale(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    pipeline.send_all()
    producer = Producer({"bootstrap.servers": pipeline.bootstrap})
    for row in (301, 2**62, 2**63, "301", None):
        fields = {
            "kafka_partition": 0,
            "previous_id": 0,
            "transaction_id": row,
            "event_id": "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11",
            "source_id": source_id(pipeline),
        }
        producer.produce(ACTIONS.topic(pipeline.mrf), json.dumps(fields), "lead", partition=0)
    assert producer.flush(30) == 0
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    pipeline.send_all()


def test_the_newest_row_is_found_behind_many_foreign_messages(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    pipeline.send_all()
    with sender_of(pipeline) as sender:
        record = sender.offsets()[source_id(pipeline)]
    producer = Producer({"bootstrap.servers": pipeline.bootstrap})
    for partition in range(3):
        for number in range(1_500):
            producer.produce(ACTIONS.topic(pipeline.mrf), b"%d" % number, "lead", partition=partition)
    assert producer.flush(30) == 0
    pipeline.send_all()
    older = replace(record, transaction_id=200, event_id=None, last_ids={})
    write_record(pipeline, state_key(pipeline.mrf, "actions", source_id(pipeline)), older.encode())
    stopped = pipeline.produce("actions")
    assert stopped.exit_code() == 3
    assert stopped.logged(f"has row {pipeline.in_file('actions')}")
