"""The producer: the bot's files, other producers, and a broker that is down."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import TopicPartition

from crmbot_core.contracts import ACTIONS
from crmbot_core.errors import StoppedError
from crmbot_core.kafka import LATEST, STATE_TOPIC, admin_client, offsets
from crmbot_producer.committed import committed_messages
from crmbot_producer.kafka import PageSender
from crmbot_producer.partitions import partitions_of
from crmbot_producer.source_offset import SourceOffset
from devstack import Kafka
from tests.integration.pipeline import Pipeline, wait_until


def consume_both(pipeline: Pipeline) -> None:
    for stream in ("actions", "nature"):
        pipeline.consume(stream)


def page_sender(pipeline: Pipeline) -> PageSender:
    return PageSender(
        {"bootstrap.servers": pipeline.bootstrap}, pipeline.mrf, "actions", ACTIONS.topic(pipeline.mrf)
    )


def in_file(pipeline: Pipeline, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{pipeline.data / 'actions.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def messages_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the committed messages of the topic in offset order, after checking key and partition."""
    topic = ACTIONS.topic(pipeline.mrf)
    places = [TopicPartition(topic, number, 0) for number in range(3)]
    found = []
    for message in committed_messages({"bootstrap.servers": pipeline.bootstrap}, places):
        fields = json.loads(message.value() or b"")
        assert fields["kafka_partition"] == message.partition()
        assert fields["lead_id"].encode() == message.key()
        found.append(fields)
    return found


def test_a_second_producer_fences_the_first(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    first = pipeline.produce("actions")
    wait_until(lambda: pipeline.has_sent_all(first), "the first producer has sent all rows")
    second = pipeline.produce("actions")
    wait_until(lambda: second.logged('"sending"'), "the second producer sends")
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "2")
    assert first.exit_code() == 3
    assert "fenced by another producer" in first.log.read_text()
    pipeline.produce("nature")
    consume_both(pipeline)
    assert pipeline.audit()["clean"]


def state_end(pipeline: Pipeline) -> int:
    admin = admin_client({"bootstrap.servers": pipeline.bootstrap})
    return sum(offsets(admin, [TopicPartition(STATE_TOPIC, 0)], LATEST).values())


def offset_in_open_transaction(pipeline: Pipeline) -> Iterator[SourceOffset]:
    """Yield a source offset, and return when Kafka has its record, in a transaction that is still open."""
    before = state_end(pipeline)
    yield SourceOffset("source", 1, "event")
    wait_until(lambda: state_end(pipeline) > before, "Kafka has the record of the open transaction")


def test_a_producer_fenced_within_a_transaction_reports_it(pipeline: Pipeline) -> None:
    settings, topic = {"bootstrap.servers": pipeline.bootstrap}, f"crm_bot_actions_{pipeline.mrf}"
    rivals = [PageSender(settings, pipeline.mrf, "actions", topic)]

    def source_offsets() -> Iterator[SourceOffset]:
        yield from offset_in_open_transaction(pipeline)
        rivals.append(PageSender(settings, pipeline.mrf, "actions", topic))

    with pytest.raises(StoppedError, match="fenced by another producer"), closing(rivals[0]) as first:
        first.commit_offsets(source_offsets())
    rivals[1].close()


def test_a_transaction_that_times_out_is_aborted_and_the_next_producer_resumes(
    pipeline: Pipeline,
) -> None:
    settings = {"bootstrap.servers": pipeline.bootstrap, "transaction.timeout.ms": "1000"}
    topic = f"crm_bot_actions_{pipeline.mrf}"

    def source_offsets() -> Iterator[SourceOffset]:
        yield from offset_in_open_transaction(pipeline)
        end = state_end(pipeline)
        wait_until(lambda: state_end(pipeline) > end, "Kafka has aborted the transaction")

    with (
        pytest.raises(StoppedError, match="aborted a transaction that exceeded"),
        closing(PageSender(settings, pipeline.mrf, "actions", topic)) as late,
    ):
        late.commit_offsets(source_offsets())
    with closing(PageSender(settings, pipeline.mrf, "actions", topic)) as successor:
        assert "source" not in successor.offsets()
        successor.commit_offsets([SourceOffset("source", 2, "event")])
        assert successor.offsets()["source"].transaction_id == 2


def run_bot(pipeline: Pipeline, rows: int) -> None:
    pipeline.check_output("crmbot-generator", "load", "--rate", str(rows), "--seconds", "1")


def test_an_older_copy_of_the_file_stops_the_producer(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    backup = pipeline.back_up()
    run_bot(pipeline, 400)
    producer = pipeline.produce("actions")
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    assert producer.terminate() == 0
    pipeline.restore(backup)
    stopped = pipeline.produce("actions")
    assert stopped.exit_code() == 3
    assert "was replaced or restored" in stopped.log.read_text()
    assert "crmbot-producer new-source --stream actions" in stopped.log.read_text()


@pytest.mark.parametrize("rows_after", [100, 1_200], ids=["fewer rows than were lost", "more"])
def test_every_identity_of_the_file_is_compared_with_what_was_sent(
    pipeline: Pipeline, rows_after: int
) -> None:
    """After a restore, the bot continued under the old identity before the file got a new one."""
    pipeline.backfill(1_000)
    backup = pipeline.back_up()
    run_bot(pipeline, 600)
    producer = pipeline.produce("actions")
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    assert producer.terminate() == 0
    pipeline.restore(backup)
    run_bot(pipeline, rows_after)
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection, connection:
        connection.execute(
            "INSERT INTO source SELECT ?, stream, mrf, schema_version, "
            "(SELECT max(transaction_id) FROM actions), NULL FROM source",
            (str(uuid4()),),
        )
    run_bot(pipeline, 100)
    stopped = pipeline.produce("actions")
    assert stopped.exit_code() == 3
    assert "was replaced or restored" in stopped.log.read_text()


def test_a_running_producer_sends_next_rows_under_a_new_identity(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    producer = pipeline.produce("actions")
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    before, source_id = pipeline.in_file("actions"), str(uuid4())
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection, connection:
        connection.execute(
            "INSERT INTO source SELECT ?, stream, mrf, schema_version, ?, NULL FROM source",
            (source_id, before),
        )
    run_bot(pipeline, 100)
    wait_until(lambda: pipeline.has_sent_all(producer), "the next rows are sent")
    assert producer.logged("got a new identity")
    found = {(m["source_id"] == source_id, m["transaction_id"] > before) for m in messages_of(pipeline)}
    assert found == {(True, True), (False, False)}


def test_a_running_producer_detects_a_restored_file(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    producer = pipeline.produce("actions")
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    with sqlite3.connect(pipeline.data / "actions.db") as connection:
        connection.execute("DELETE FROM actions WHERE transaction_id > 100")
    assert producer.exit_code() == 3
    assert "was replaced or restored" in producer.log.read_text()


def test_a_new_file_at_the_same_path_is_sent_from_its_first_row(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    producer = pipeline.produce("actions")
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    ((former,),) = in_file(pipeline, "SELECT source_id FROM source")
    fresh = pipeline.folder / "fresh"
    pipeline.backfill(700, DATA_DIR=str(fresh), SEED="2")
    for stream in ("actions", "nature"):
        (fresh / f"{stream}.db").replace(pipeline.data / f"{stream}.db")
    wait_until(lambda: pipeline.has_sent_all(producer), "the new file is sent")
    pipeline.produce("nature")
    consume_both(pipeline)
    done = pipeline.run("crmbot-producer", "audit", "--wait", "30", "--former-source", former)
    assert done.returncode == 0, done.stdout


def test_the_producer_waits_for_a_missing_or_incomplete_file(pipeline: Pipeline) -> None:
    producer = pipeline.produce("actions")
    wait_until(lambda: producer.logged("does not exist (yet)"), "it logs that the file is missing")
    assert producer.get("/readyz")[0] == 503
    pipeline.data.mkdir()
    with sqlite3.connect(pipeline.data / "actions.db") as connection:
        connection.execute("CREATE TABLE unrelated (x)")
    wait_until(lambda: producer.logged("half made"), "it logs that the file is incomplete")
    (pipeline.data / "actions.db").unlink()
    pipeline.backfill(300)
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    assert producer.get("/readyz")[0] == 200


def test_a_damaged_file_stops_the_producer(pipeline: Pipeline) -> None:
    pipeline.data.mkdir()
    (pipeline.data / "actions.db").write_bytes(b"not a database at all" * 200)
    producer = pipeline.produce("actions")
    assert producer.exit_code() == 3
    assert "is damaged" in producer.log.read_text()


def test_the_producer_waits_for_a_locked_file(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    lock = sqlite3.connect(pipeline.data / "actions.db", isolation_level=None)
    lock.execute("PRAGMA journal_mode = DELETE")
    lock.execute("BEGIN EXCLUSIVE")
    producer = pipeline.produce("actions")
    wait_until(lambda: producer.logged("database is locked"), "it logs that the file is locked")
    lock.execute("COMMIT")
    lock.close()
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")


def test_the_wrong_mrf_and_a_missing_topic_are_configuration_errors(pipeline: Pipeline) -> None:
    pipeline.backfill(100)
    wrong = pipeline.produce("actions", MRF="mrf98")
    assert wrong.exit_code() == 2
    assert "check MRF" in wrong.log.read_text()
    foreign = pipeline.folder / "foreign"
    pipeline.backfill(100, MRF="mrf98", DATA_DIR=str(foreign))
    missing = pipeline.produce("actions", MRF="mrf98", DATA_DIR=str(foreign))
    assert missing.exit_code() == 2
    assert "there is no topic crm_bot_actions_mrf98" in missing.log.read_text()


def test_the_producer_waits_for_a_broker_that_is_down(pipeline: Pipeline, kafka: Kafka) -> None:
    pipeline.backfill(300)
    kafka.stop()
    producer = pipeline.produce("actions")
    wait_until(lambda: producer.logged('"waiting"'), "the producer waits for the broker")
    assert producer.get("/readyz")[0] == 503
    kafka.start()
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent", seconds=90)


def test_topics_without_a_broker_prints_one_line_that_says_what_to_check(pipeline: Pipeline) -> None:
    done = pipeline.run("crmbot-producer", "topics", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "check KAFKA_BOOTSTRAP_SERVERS" in line
    assert done.stdout == ""


def test_the_chain_continues_across_pages_and_restarts(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    for _ in range(3):
        producer = pipeline.produce("actions", PAGE_ROWS="100")
        run_bot(pipeline, 100)
        wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")  # noqa: B023  (called immediately)
        assert producer.terminate() == 0
    rows = in_file(pipeline, "SELECT transaction_id, lead_id FROM actions")
    partitions = partitions_of([lead.encode() for _, lead in rows], 3)
    ends: dict[int, int] = {}
    expected = set()
    for (transaction_id, lead), partition in zip(rows, partitions, strict=True):
        expected.add((partition, ends.get(partition, 0), transaction_id, lead))
        ends[partition] = transaction_id
    found = messages_of(pipeline)
    assert len(found) == len(expected)
    assert expected == {
        (m["kafka_partition"], m["previous_id"], m["transaction_id"], m["lead_id"]) for m in found
    }
    with closing(page_sender(pipeline)) as sender:
        (offset,) = sender.offsets().values()
    assert offset.last_ids == ends


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_the_producer_writes_nothing_to_the_bots_file(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    before = digest(pipeline.data / "actions.db")
    producer = pipeline.produce("actions")
    wait_until(lambda: pipeline.has_sent_all(producer), "all rows are sent")
    assert producer.terminate() == 0
    assert digest(pipeline.data / "actions.db") == before
