"""What the producer does with the bot's files, with rivals and with a broker that is away."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from crmbot_core.errors import StoppedError
from crmbot_core.kafka import LATEST, STATE_TOPIC, admin_client, offsets
from crmbot_producer.kafka import PageSender
from crmbot_producer.watermark import Watermark
from devstack import Kafka
from tests.integration.road import Road, Service, wait_until


def consume_both(road: Road) -> None:
    for stream in ("actions", "nature"):
        road.consume(stream)


def sent(service: Service, road: Road) -> bool:
    labels = f'{{mrf="{road.mrf}",stream="actions"}}'
    newest = f"crmbot_producer_last_transaction_id{labels} {road.in_file('actions'):.1f}"
    return newest in service.get("/metrics")[1]


def test_a_second_producer_takes_over_and_the_first_gives_way(road: Road) -> None:
    road.backfill(1_000)
    first = road.produce("actions")
    wait_until(lambda: sent(first, road), "the first has sent all")
    second = road.produce("actions")
    wait_until(lambda: second.logged('"sending"'), "the second sends")
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "2")
    assert first.exit_code() == 3
    assert "another process has taken over" in first.log.read_text()
    road.produce("nature")
    consume_both(road)
    assert road.audit()["clean"]


def state_end(road: Road) -> int:
    admin = admin_client({"bootstrap.servers": road.bootstrap})
    return sum(offsets(admin, [TopicPartition(STATE_TOPIC, 0)], LATEST).values())


def until_kafka_has_it(road: Road) -> Iterator[Watermark]:
    """Yield a watermark, and end when Kafka has it: of a transaction that is still open."""
    before = state_end(road)
    yield Watermark("source", 1, "event")
    wait_until(lambda: state_end(road) > before, "Kafka has a part of the transaction")


def test_a_producer_that_is_fenced_within_a_transaction_says_so(road: Road) -> None:
    settings, topic = {"bootstrap.servers": road.bootstrap}, f"crm_bot_actions_{road.mrf}"
    rivals = [PageSender(settings, road.mrf, "actions", topic)]

    def watermarks() -> Iterator[Watermark]:
        yield from until_kafka_has_it(road)
        rivals.append(PageSender(settings, road.mrf, "actions", topic))

    with pytest.raises(StoppedError, match="another process has taken over"), closing(rivals[0]) as first:
        first.commit_watermarks(watermarks())
    rivals[1].close()


def test_a_transaction_that_took_too_long_is_given_up_and_the_next_producer_goes_on(road: Road) -> None:
    settings = {"bootstrap.servers": road.bootstrap, "transaction.timeout.ms": "1000"}
    topic = f"crm_bot_actions_{road.mrf}"

    def watermarks() -> Iterator[Watermark]:
        yield from until_kafka_has_it(road)
        with_message = state_end(road)
        wait_until(lambda: state_end(road) > with_message, "Kafka has aborted the transaction")

    with (
        pytest.raises(StoppedError, match="gave up a transaction that took too long"),
        closing(PageSender(settings, road.mrf, "actions", topic)) as late,
    ):
        late.commit_watermarks(watermarks())
    with closing(PageSender(settings, road.mrf, "actions", topic)) as successor:
        assert "source" not in successor.watermarks()
        successor.commit_watermarks([Watermark("source", 2, "event")])
        assert successor.watermarks()["source"].transaction_id == 2


def test_an_older_copy_of_the_file_stops_the_producer_until_it_gets_a_new_identity(road: Road) -> None:
    road.backfill(1_000)
    older = road.in_file("actions")
    backup = road.folder / "backup.db"
    with sqlite3.connect(road.data / "actions.db") as source, sqlite3.connect(backup) as target:
        source.backup(target)
    road.must("crmbot-generator", "live", "--rate", "400", "--seconds", "2")
    producer = road.produce("actions")
    wait_until(lambda: sent(producer, road), "all is sent")
    assert producer.terminate() == 0
    for name in ("actions.db-wal", "actions.db-shm"):
        (road.data / name).unlink(missing_ok=True)
    shutil.copy(backup, road.data / "actions.db")

    stopped = road.produce("actions")
    assert stopped.exit_code() == 3
    text = stopped.log.read_text()
    assert "was replaced or restored" in text
    assert "crmbot-generator new-source" in text

    database = str(road.data / "actions.db")
    assert f"rows after {older}" in road.must("crmbot-generator", "new-source", "--database", database)
    # Fewer than were lost: the audit has to wait for these, though the ledger tells of enough rows before.
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "2")
    for stream in ("actions", "nature"):
        road.produce(stream)
    consume_both(road)
    actions, nature = road.audit()["streams"]
    assert actions["clean"], actions
    assert nature["clean"], nature
    assert "lost when it was restored" in actions["notes"][0]
    assert actions["rows_in_warehouse"] > actions["rows_in_file"]


def test_a_restored_file_is_noticed_while_the_producer_runs(road: Road) -> None:
    road.backfill(500)
    producer = road.produce("actions")
    wait_until(lambda: sent(producer, road), "all is sent")
    with sqlite3.connect(road.data / "actions.db") as connection:
        connection.execute("DELETE FROM actions WHERE transaction_id > 100")
    assert producer.exit_code() == 3
    assert "was replaced or restored" in producer.log.read_text()


def test_a_new_file_in_the_old_place_is_sent_from_its_first_row(road: Road) -> None:
    road.backfill(500)
    producer = road.produce("actions")
    wait_until(lambda: sent(producer, road), "all is sent")
    fresh = road.folder / "fresh"
    road.backfill(700, DATA_DIR=str(fresh), SEED="2")
    for stream in ("actions", "nature"):
        (fresh / f"{stream}.db").replace(road.data / f"{stream}.db")
    wait_until(lambda: sent(producer, road), "the new file is sent")
    road.produce("nature")
    consume_both(road)
    result = road.audit()
    assert result["clean"], result
    assert "other files" in result["streams"][0]["notes"][0]


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
    wait_until(lambda: sent(producer, road), "all is sent")
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
    wait_until(lambda: sent(producer, road), "all is sent")


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
    wait_until(lambda: sent(producer, road), "all is sent", seconds=90)


def test_topics_without_a_broker_is_one_line_that_says_what_to_check(road: Road) -> None:
    done = road.run("crmbot-producer", "topics", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "check KAFKA_BOOTSTRAP_SERVERS" in line
    assert done.stdout == ""


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_the_producer_writes_nothing_to_the_bots_file(road: Road) -> None:
    road.backfill(500)
    before = digest(road.data / "actions.db")
    producer = road.produce("actions")
    wait_until(lambda: sent(producer, road), "all is sent")
    assert producer.terminate() == 0
    assert digest(road.data / "actions.db") == before
