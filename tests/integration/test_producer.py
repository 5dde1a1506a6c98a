"""What the producer does with the bot's files, with rivals and with a broker that is away."""

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
from tests.integration.road import Road, wait_until


def consume_both(road: Road) -> None:
    for stream in ("actions", "nature"):
        road.consume(stream)


def page_sender(road: Road) -> PageSender:
    return PageSender({"bootstrap.servers": road.bootstrap}, road.mrf, "actions", ACTIONS.topic(road.mrf))


def in_file(road: Road, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{road.data / 'actions.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def messages_of(road: Road) -> list[dict[str, Any]]:
    """Return what is committed to the topic, in the order of offsets, and check key and partition."""
    topic = ACTIONS.topic(road.mrf)
    places = [TopicPartition(topic, number, 0) for number in range(3)]
    found = []
    for message in committed_messages({"bootstrap.servers": road.bootstrap}, places):
        fields = json.loads(message.value() or b"")
        assert fields["kafka_partition"] == message.partition()
        assert fields["lead_id"].encode() == message.key()
        found.append(fields)
    return found


def test_a_second_producer_takes_over_and_the_first_gives_way(road: Road) -> None:
    road.backfill(1_000)
    first = road.produce("actions")
    wait_until(lambda: road.has_sent_all(first), "the first has sent all")
    second = road.produce("actions")
    wait_until(lambda: second.logged('"sending"'), "the second sends")
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "2")
    assert first.exit_code() == 3
    assert "fenced by another producer" in first.log.read_text()
    road.produce("nature")
    consume_both(road)
    assert road.audit()["clean"]


def state_end(road: Road) -> int:
    admin = admin_client({"bootstrap.servers": road.bootstrap})
    return sum(offsets(admin, [TopicPartition(STATE_TOPIC, 0)], LATEST).values())


def until_kafka_has_it(road: Road) -> Iterator[SourceOffset]:
    """Yield a source offset, and end when Kafka has it: of a transaction that is still open."""
    before = state_end(road)
    yield SourceOffset("source", 1, "event")
    wait_until(lambda: state_end(road) > before, "Kafka has a part of the transaction")


def test_a_producer_that_is_fenced_within_a_transaction_says_so(road: Road) -> None:
    settings, topic = {"bootstrap.servers": road.bootstrap}, f"crm_bot_actions_{road.mrf}"
    rivals = [PageSender(settings, road.mrf, "actions", topic)]

    def source_offsets() -> Iterator[SourceOffset]:
        yield from until_kafka_has_it(road)
        rivals.append(PageSender(settings, road.mrf, "actions", topic))

    with pytest.raises(StoppedError, match="fenced by another producer"), closing(rivals[0]) as first:
        first.commit_offsets(source_offsets())
    rivals[1].close()


def test_a_transaction_that_took_too_long_is_given_up_and_the_next_producer_goes_on(road: Road) -> None:
    settings = {"bootstrap.servers": road.bootstrap, "transaction.timeout.ms": "1000"}
    topic = f"crm_bot_actions_{road.mrf}"

    def source_offsets() -> Iterator[SourceOffset]:
        yield from until_kafka_has_it(road)
        with_message = state_end(road)
        wait_until(lambda: state_end(road) > with_message, "Kafka has aborted the transaction")

    with (
        pytest.raises(StoppedError, match="aborted a transaction that exceeded"),
        closing(PageSender(settings, road.mrf, "actions", topic)) as late,
    ):
        late.commit_offsets(source_offsets())
    with closing(PageSender(settings, road.mrf, "actions", topic)) as successor:
        assert "source" not in successor.offsets()
        successor.commit_offsets([SourceOffset("source", 2, "event")])
        assert successor.offsets()["source"].transaction_id == 2


def work(road: Road, rows: int) -> None:
    road.must("crmbot-generator", "live", "--rate", str(rows), "--seconds", "1")


def test_an_older_copy_of_the_file_stops_the_producer(road: Road) -> None:
    road.backfill(1_000)
    backup = road.back_up()
    work(road, 400)
    producer = road.produce("actions")
    wait_until(lambda: road.has_sent_all(producer), "all is sent")
    assert producer.terminate() == 0
    road.restore(backup)
    stopped = road.produce("actions")
    assert stopped.exit_code() == 3
    assert "was replaced or restored" in stopped.log.read_text()
    assert "crmbot-producer new-source --stream actions" in stopped.log.read_text()


@pytest.mark.parametrize("rows_after", [100, 1_200], ids=["fewer rows than were lost", "more"])
def test_every_identity_of_the_file_has_to_be_as_it_was_sent(road: Road, rows_after: int) -> None:
    """Restored, the bot went on under the old identity, and only then somebody gave the file a new one."""
    road.backfill(1_000)
    backup = road.back_up()
    work(road, 600)
    producer = road.produce("actions")
    wait_until(lambda: road.has_sent_all(producer), "all is sent")
    assert producer.terminate() == 0
    road.restore(backup)
    work(road, rows_after)
    with closing(sqlite3.connect(road.data / "actions.db")) as connection, connection:
        connection.execute(
            "INSERT INTO source SELECT ?, stream, mrf, schema_version, "
            "(SELECT max(transaction_id) FROM actions), NULL FROM source",
            (str(uuid4()),),
        )
    work(road, 100)
    stopped = road.produce("actions")
    assert stopped.exit_code() == 3
    assert "was replaced or restored" in stopped.log.read_text()


def test_a_new_identity_while_the_producer_runs_is_the_one_that_next_rows_get(road: Road) -> None:
    road.backfill(500)
    producer = road.produce("actions")
    wait_until(lambda: road.has_sent_all(producer), "all is sent")
    before, source_id = road.in_file("actions"), str(uuid4())
    with closing(sqlite3.connect(road.data / "actions.db")) as connection, connection:
        connection.execute(
            "INSERT INTO source SELECT ?, stream, mrf, schema_version, ?, NULL FROM source",
            (source_id, before),
        )
    work(road, 100)
    wait_until(lambda: road.has_sent_all(producer), "the next rows are sent")
    assert producer.logged("got a new identity")
    found = {(m["source_id"] == source_id, m["transaction_id"] > before) for m in messages_of(road)}
    assert found == {(True, True), (False, False)}


def test_a_restored_file_is_noticed_while_the_producer_runs(road: Road) -> None:
    road.backfill(500)
    producer = road.produce("actions")
    wait_until(lambda: road.has_sent_all(producer), "all is sent")
    with sqlite3.connect(road.data / "actions.db") as connection:
        connection.execute("DELETE FROM actions WHERE transaction_id > 100")
    assert producer.exit_code() == 3
    assert "was replaced or restored" in producer.log.read_text()


def test_a_new_file_in_the_old_place_is_sent_from_its_first_row(road: Road) -> None:
    road.backfill(500)
    producer = road.produce("actions")
    wait_until(lambda: road.has_sent_all(producer), "all is sent")
    ((former,),) = in_file(road, "SELECT source_id FROM source")
    fresh = road.folder / "fresh"
    road.backfill(700, DATA_DIR=str(fresh), SEED="2")
    for stream in ("actions", "nature"):
        (fresh / f"{stream}.db").replace(road.data / f"{stream}.db")
    wait_until(lambda: road.has_sent_all(producer), "the new file is sent")
    road.produce("nature")
    consume_both(road)
    done = road.run("crmbot-producer", "audit", "--wait", "30", "--former-source", former)
    assert done.returncode == 0, done.stdout


def test_a_missing_then_half_made_file_is_waited_for(road: Road) -> None:
    producer = road.produce("actions")
    wait_until(lambda: producer.logged("does not exist (yet)"), "it says that the file is missing")
    assert producer.get("/readyz")[0] == 503
    road.data.mkdir()
    with sqlite3.connect(road.data / "actions.db") as connection:
        connection.execute("CREATE TABLE unrelated (x)")
    wait_until(lambda: producer.logged("half made"), "it says that the file is half made")
    (road.data / "actions.db").unlink()
    road.backfill(300)
    wait_until(lambda: road.has_sent_all(producer), "all is sent")
    assert producer.get("/readyz")[0] == 200


def test_a_damaged_file_stops_the_producer(road: Road) -> None:
    road.data.mkdir()
    (road.data / "actions.db").write_bytes(b"not a database at all" * 200)
    producer = road.produce("actions")
    assert producer.exit_code() == 3
    assert "is damaged" in producer.log.read_text()


def test_a_locked_file_is_waited_for(road: Road) -> None:
    road.backfill(300)
    lock = sqlite3.connect(road.data / "actions.db", isolation_level=None)
    lock.execute("PRAGMA journal_mode = DELETE")
    lock.execute("BEGIN EXCLUSIVE")
    producer = road.produce("actions")
    wait_until(lambda: producer.logged("database is locked"), "it says that the file is locked")
    lock.execute("COMMIT")
    lock.close()
    wait_until(lambda: road.has_sent_all(producer), "all is sent")


def test_the_wrong_mrf_and_a_missing_topic_are_configuration_errors(road: Road) -> None:
    road.backfill(100)
    wrong = road.produce("actions", MRF="mrf98")
    assert wrong.exit_code() == 2
    assert "check MRF" in wrong.log.read_text()
    foreign = road.folder / "foreign"
    road.backfill(100, MRF="mrf98", DATA_DIR=str(foreign))
    missing = road.produce("actions", MRF="mrf98", DATA_DIR=str(foreign))
    assert missing.exit_code() == 2
    assert "there is no topic crm_bot_actions_mrf98" in missing.log.read_text()


def test_a_broker_that_is_down_is_waited_for(road: Road, kafka: Kafka) -> None:
    road.backfill(300)
    kafka.stop()
    producer = road.produce("actions")
    wait_until(lambda: producer.logged('"waiting"'), "it waits")
    assert producer.get("/readyz")[0] == 503
    kafka.start()
    wait_until(lambda: road.has_sent_all(producer), "all is sent", seconds=90)


def test_topics_without_a_broker_is_one_line_that_says_what_to_check(road: Road) -> None:
    done = road.run("crmbot-producer", "topics", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "check KAFKA_BOOTSTRAP_SERVERS" in line
    assert done.stdout == ""


def test_the_chain_goes_on_over_pages_and_restarts(road: Road) -> None:
    road.backfill(1_000)
    for _ in range(3):
        producer = road.produce("actions", PAGE_ROWS="100")
        work(road, 100)
        wait_until(lambda: road.has_sent_all(producer), "all is sent")  # noqa: B023  (called at once)
        assert producer.terminate() == 0
    rows = in_file(road, "SELECT transaction_id, lead_id FROM actions")
    partitions = partitions_of([lead.encode() for _, lead in rows], 3)
    ends: dict[int, int] = {}
    expected = set()
    for (transaction_id, lead), partition in zip(rows, partitions, strict=True):
        expected.add((partition, ends.get(partition, 0), transaction_id, lead))
        ends[partition] = transaction_id
    found = messages_of(road)
    assert len(found) == len(expected)
    assert expected == {
        (m["kafka_partition"], m["previous_id"], m["transaction_id"], m["lead_id"]) for m in found
    }
    with closing(page_sender(road)) as sender:
        (offset,) = sender.offsets().values()
    assert offset.last_ids == ends


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_the_producer_writes_nothing_to_the_bots_file(road: Road) -> None:
    road.backfill(500)
    before = digest(road.data / "actions.db")
    producer = road.produce("actions")
    wait_until(lambda: road.has_sent_all(producer), "all is sent")
    assert producer.terminate() == 0
    assert digest(road.data / "actions.db") == before
