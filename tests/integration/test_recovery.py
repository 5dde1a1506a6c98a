"""Recovery by command: `resend` after a loss in Kafka, `new-source` after a file was restored."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from crmbot_core import ledger
from crmbot_core.contracts import ACTIONS
from crmbot_core.errors import StoppedError
from crmbot_core.kafka import LATEST, STATE_TOPIC, admin_client, offsets
from crmbot_core.ledger import Position
from crmbot_producer import new_source as new_source_module
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import checked_positions
from crmbot_producer.resend import resend
from crmbot_producer.settings import RecoverySettings
from crmbot_producer.source_offset import SourceOffset
from devstack import Kafka
from tests.integration.messages import action, send
from tests.integration.road import Road, Service, wait_until

RESEND = ("crmbot-producer", "resend", "--stream", "actions")
REPARTITION = ("crmbot-producer", "repartition", "--stream", "actions")
NEW_SOURCE = ("crmbot-producer", "new-source", "--stream", "actions")
ADOPT_TOPIC = ("crmbot-consumer", "adopt-topic", "--stream", "actions")
ACCEPT_LOSS = ("crmbot-consumer", "accept-loss", "--stream", "actions")


def work(road: Road, rows: int = 300) -> None:
    """Let the bot go on, mostly with leads that it knows."""
    road.must("crmbot-generator", "live", "--rate", str(rows), "--seconds", "1")


def stop(service: Service) -> None:
    assert service.terminate() == 0


def in_file(road: Road, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{road.data / 'actions.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def newest_id(road: Road) -> int:
    return int(in_file(road, "SELECT coalesce(max(transaction_id), 0) FROM actions")[0][0])


def identities(road: Road) -> list[tuple[str, int, int | None]]:
    return in_file(
        road, "SELECT source_id, starts_after, lost_up_to FROM source ORDER BY starts_after, rowid"
    )


def copies(road: Road) -> list[int]:
    """Return how many copies of each of the file's rows the warehouse has."""
    loaded = Counter(road.query("SELECT transaction_id, event_id::text FROM {actions}"))
    return [loaded[row] for row in in_file(road, "SELECT transaction_id, event_id FROM actions")]


def wait_for_each_once(road: Road) -> None:
    wait_until(lambda: 0 not in copies(road), "every row of the file in the warehouse")
    assert set(copies(road)) == {1}
    assert road.query("SELECT event_id FROM {actions} GROUP BY event_id HAVING count(*) > 1") == []
    rejected = "SELECT reason FROM crm_bot_rejects WHERE topic = %s"
    assert road.query(rejected, ACTIONS.topic(road.mrf)) == []


def moved_leads(road: Road) -> list[str]:
    query = "SELECT lead_id FROM {actions} GROUP BY lead_id HAVING count(DISTINCT kafka_partition) > 1"
    return [lead for (lead,) in road.query(query)]


def load_all(road: Road) -> None:
    """Let a producer and a consumer bring everything to the warehouse, and stop them."""
    producer, consumer = road.produce("actions"), road.consume("actions")
    wait_for_each_once(road)
    stop(producer)
    stop(consumer)


def stopped(service: Service, *words: str) -> None:
    assert service.exit_code() == 3, service.log.read_text()
    for word in words:
        assert service.logged(word), service.log.read_text()


def refused(road: Road, *command: str, code: int = 2) -> str:
    """Run a command that refuses, and return its line."""
    done = road.run(*command)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}{done.stderr}"
    (line,) = done.stderr.splitlines()
    return line


def lose_state(road: Road) -> None:
    """Delete the records of all identities that the file has."""
    producer = Producer({"bootstrap.servers": road.bootstrap})
    for source_id, _, _ in identities(road):
        producer.produce(STATE_TOPIC, None, f"{road.mrf}|actions|{source_id}".encode(), partition=0)
    assert producer.flush(30) == 0


def delete_messages(road: Road, partition: int) -> None:
    """Delete all messages that a partition has, as retention would."""
    admin = admin_client({"bootstrap.servers": road.bootstrap})
    place = TopicPartition(ACTIONS.topic(road.mrf), partition)
    place.offset = offsets(admin, [place], LATEST)[place.topic, partition]
    (answer,) = admin.delete_records([place]).values()
    answer.result(30)


# resend


def test_a_lost_state_topic_stops_the_producer_until_it_is_rebuilt(road: Road) -> None:
    road.backfill(1_000)
    load_all(road)
    road.recreate(STATE_TOPIC)
    work(road)
    stopped(road.produce("actions"), "no record of what was sent", "crmbot-producer resend")
    said = road.must(*RESEND)
    assert re.search(r"rows of \S+ after \d+ go to 3 partitions", said)
    assert road.must(*RESEND) == said
    load_all(road)
    assert moved_leads(road) == []
    duplicates = "SELECT sum(rows_duplicate) FROM crm_bot_ledger WHERE topic = %s"
    assert road.query(duplicates, ACTIONS.topic(road.mrf)) == [(0,)]


def test_rows_stay_in_their_partitions_where_those_grew_and_the_state_was_lost(road: Road) -> None:
    road.backfill(1_000)
    load_all(road)
    road.must("crmbot-producer", "topics", PARTITIONS="7")
    lose_state(road)
    work(road)
    assert "go to 3 partitions" in road.must(*RESEND)
    load_all(road)
    assert moved_leads(road) == []

    road.must(*REPARTITION)
    work(road)
    load_all(road)
    lose_state(road)
    work(road)
    assert "go to 7 partitions" in road.must(*RESEND)
    load_all(road)


def test_what_is_in_kafka_and_not_loaded_comes_twice_and_is_loaded_once(road: Road) -> None:
    road.backfill(500)
    load_all(road)
    road.must("crmbot-producer", "topics", PARTITIONS="7")
    work(road)
    road.send_all()
    lose_state(road)
    work(road)
    assert "--partitions N" in refused(road, *RESEND, "--partitions", "7", code=3)
    assert "go to 3 partitions" in road.must(*RESEND)
    road.send_all()
    load_all(road)
    assert moved_leads(road) == []


def test_before_anything_is_loaded_everything_is_sent_again(road: Road) -> None:
    road.backfill(500)
    road.send_all()
    lose_state(road)
    stopped(road.produce("actions"), "crmbot-producer resend")
    assert "after 0 go to 3 partitions" in road.must(*RESEND)
    load_all(road)


def test_a_record_that_cannot_be_decoded_is_rebuilt(road: Road) -> None:
    road.backfill(500)
    load_all(road)
    ((source_id, _, _),) = identities(road)
    producer = Producer({"bootstrap.servers": road.bootstrap})
    producer.produce(STATE_TOPIC, b"\xff", f"{road.mrf}|actions|{source_id}".encode(), partition=0)
    assert producer.flush(30) == 0
    stopped(road.produce("actions"), "crmbot-producer resend --stream actions")
    road.must(*RESEND)
    work(road)
    load_all(road)


def test_messages_that_kafka_lost_are_sent_again(road: Road) -> None:
    road.backfill(500)
    load_all(road)
    work(road)
    road.send_all()
    delete_messages(road, 0)
    stopped(road.consume("actions"), "data loss", "crmbot-consumer accept-loss")
    road.must(*ACCEPT_LOSS, "--partition", "0")
    work(road)
    road.send_all()
    stopped(road.consume("actions"), "Kafka lost what lies between", "crmbot-producer resend")
    assert 0 in copies(road)
    road.must(*RESEND)
    load_all(road)
    superseded = "SELECT sum(rows_superseded) > 0 FROM crm_bot_ledger WHERE topic = %s"
    assert road.query(superseded, ACTIONS.topic(road.mrf)) == [(True,)]


def test_a_forged_gap_of_a_former_file_is_passed_over(road: Road) -> None:
    """Nothing is missing of the former file, and nobody can send it again: the message is no row of a bot."""
    road.backfill(500)
    load_all(road)
    ((former, _, _),) = identities(road)
    for file in road.data.glob("actions.db*"):
        file.unlink()
    work(road)
    load_all(road)
    forged = action(road.mrf, 2**62 + 1, source_id=former)
    send(road.bootstrap, ACTIONS.topic(road.mrf), [forged])
    work(road)
    road.send_all()
    stopped(road.consume("actions"), "Kafka lost what lies between", "crmbot-producer resend")
    road.must(*RESEND)
    load_all(road)
    forgeries = "SELECT count(*) FROM {actions} WHERE event_id = %s"
    assert road.query(forgeries, forged["event_id"]) == [(0,)]


def test_what_kafka_and_the_file_lost_stays_a_gap(road: Road) -> None:
    """The producer's record shows that rows of the former file were sent that the warehouse lacks."""
    road.backfill(500)
    load_all(road)
    ((former, _, _),) = identities(road)
    work(road)
    road.send_all()
    delete_messages(road, 0)
    road.must(*ACCEPT_LOSS, "--partition", "0")
    work(road)
    road.send_all()
    for file in road.data.glob("actions.db*"):
        file.unlink()
    work(road)
    road.send_all()
    road.must(*RESEND)
    stopped(road.consume("actions"), "Kafka lost what lies between", former)


def test_a_loss_that_was_accepted_can_still_be_mended(road: Road) -> None:
    road.backfill(500)
    load_all(road)
    work(road)
    road.send_all()
    delete_messages(road, 0)
    road.must(*ACCEPT_LOSS, "--partition", "0")
    work(road)
    road.send_all()
    consumer = road.consume("actions")
    stopped(consumer, "accept-loss")
    advice = re.search(
        r"accept-loss --stream actions (--partition 0 --source-id \S+ --after-id \d+ --up-to-id \d+)",
        consumer.log.read_text(),
    )
    assert advice, consumer.log.read_text()
    road.must(*ACCEPT_LOSS, *advice[1].split())
    consumer = road.consume("actions")
    wait_until(lambda: max(road.query("SELECT max(transaction_id) FROM {actions}"))[0] == newest_id(road), "")
    assert 0 in copies(road)
    stop(consumer)
    road.must("crmbot-producer", "topics", PARTITIONS="7")
    assert "can come again only as rows are spread now" in refused(road, *REPARTITION)
    road.must(*RESEND)
    load_all(road)
    assert "go to 7 partitions" in road.must(*REPARTITION)
    gaps = "SELECT gaps::text FROM crm_bot_ledger WHERE topic = %s AND kafka_partition = 0 ORDER BY 1"
    assert (
        "{}" in road.query(gaps, ACTIONS.topic(road.mrf))[-1] + road.query(gaps, ACTIONS.topic(road.mrf))[0]
    )


def test_a_recreated_topic_is_adopted_and_filled(road: Road) -> None:
    road.backfill(500)
    load_all(road)
    work(road)
    road.send_all()
    road.recreate(ACTIONS.topic(road.mrf))
    assert "adopt-topic" in refused(road, *RESEND, code=3)
    stopped(road.consume("actions"), "crmbot-consumer adopt-topic")
    road.must(*ADOPT_TOPIC)
    assert "adopt-topic" not in road.must(*RESEND)
    work(road)
    load_all(road)


def test_a_producer_that_starts_meanwhile_makes_resend_say_so(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.backfill(500)
    load_all(road)
    kafka = {"bootstrap.servers": road.bootstrap}
    order, rivals = ledger.order_resend, []

    def order_and_be_overtaken(*arguments: Any) -> None:  # noqa: ANN401  (handed on)
        order(*arguments)
        rivals.append(PageSender(kafka, road.mrf, "actions", ACTIONS.topic(road.mrf)))

    monkeypatch.setattr(ledger, "order_resend", order_and_be_overtaken)
    with pytest.raises(StoppedError, match="stop the producer, then run this again"):
        resend(recovery_settings(road), kafka)
    rivals[0].close()
    monkeypatch.undo()
    work(road)
    load_all(road)
    road.must(*RESEND)
    work(road)
    load_all(road)


# new-source


def recovery_settings(road: Road) -> RecoverySettings:
    return RecoverySettings(mrf=road.mrf, stream="actions", data_dir=road.data, warehouse_dsn=road.dsn)


def restored(road: Road) -> tuple[int, int]:
    """Restore a file of 500 rows after more were loaded: return the backup's newest row, and the newest."""
    road.backfill(700)
    backup = road.back_up()
    older = newest_id(road)
    work(road)
    load_all(road)
    newest = newest_id(road)
    road.restore(backup)
    return older, newest


def test_a_restored_file_whose_bot_went_on_gets_a_new_identity(road: Road) -> None:
    older, newest = restored(road)
    work(road, 100)
    assert older < newest_id(road) < newest
    stopped(road.produce("actions"), "was replaced or restored", "crmbot-producer new-source")
    assert "crmbot-producer new-source" in refused(road, *RESEND, code=3)
    for wrong in (older - 200, older + 1):
        assert f"share is {older};" in refused(road, *NEW_SOURCE, "--after", str(wrong))
    assert f"rows after {older} belong" in road.must(*NEW_SOURCE, "--after", str(older))
    (_, first_start, lost_up_to), (_, second_start, _) = identities(road)
    assert (first_start, second_start, lost_up_to) == (0, older, newest)
    load_all(road)
    assert "nothing is wrong" in refused(road, *NEW_SOURCE)
    road.must(*RESEND)
    work(road)
    load_all(road)


def test_a_file_that_was_restored_a_moment_ago_gets_a_new_identity(road: Road) -> None:
    older, newest = restored(road)
    assert f"rows after {older} belong" in road.must(*NEW_SOURCE)
    work(road)
    load_all(road)
    assert identities(road)[0][2] == newest


def test_a_file_that_was_restored_to_the_very_start_of_its_identity(road: Road) -> None:
    road.backfill(500)
    connection = sqlite3.connect(road.data / "actions.db")
    load_all(road)
    connection.execute("DELETE FROM actions")
    connection.execute("DELETE FROM sqlite_sequence")
    connection.commit()
    connection.close()
    stopped(road.produce("actions"), "crmbot-producer new-source")
    assert "rows after 0 belong" in road.must(*NEW_SOURCE, "--after", "0")
    work(road)
    load_all(road)
    with closing(sqlite3.connect(road.data / "actions.db")) as connection, connection:
        connection.execute("DELETE FROM actions")
        connection.execute("DELETE FROM sqlite_sequence")
    assert "rows after 0 belong" in road.must(*NEW_SOURCE)
    assert [start for _, start, _ in identities(road)] == [0, 0, 0]
    work(road)
    load_all(road)


def test_new_source_changes_nothing_while_all_is_well(road: Road) -> None:
    road.backfill(500)
    producer, consumer = road.produce("actions"), road.consume("actions")
    wait_for_each_once(road)
    assert "nothing is wrong" in refused(road, *NEW_SOURCE)
    work(road)
    stopped(producer, "fenced by another producer")
    assert "nothing is wrong" in refused(road, *NEW_SOURCE, "--after", "100")
    assert len(identities(road)) == 1
    stop(consumer)
    load_all(road)


def test_new_source_waits_until_everything_is_loaded(road: Road) -> None:
    road.backfill(500)
    backup = road.back_up()
    load_all(road)
    work(road)
    road.send_all()
    road.restore(backup)
    work(road, 100)
    assert "not everything is loaded yet" in refused(road, *NEW_SOURCE)
    assert len(identities(road)) == 1
    consumer = road.consume("actions")
    wait_until(lambda: not road.run(*NEW_SOURCE).returncode, "everything is loaded")
    stop(consumer)
    load_all(road)


def test_new_source_is_finished_by_its_next_run(
    road: Road, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, _ = restored(road)
    settings, topic = {"bootstrap.servers": kafka.bootstrap_servers}, ACTIONS.topic(road.mrf)
    rivals = []

    def look_and_be_overtaken(*arguments: Any) -> dict[int, Position]:  # noqa: ANN401  (handed on)
        rivals.append(PageSender(settings, road.mrf, "actions", topic))
        return checked_positions(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("crmbot_producer.resend.checked_positions", look_and_be_overtaken)
        with pytest.raises(StoppedError, match="run this again"):
            new_source_module.new_source(recovery_settings(road), settings)
    rivals[0].close()
    written = identities(road)
    assert len(written) == 2
    work(road)
    stopped(road.produce("actions"), "crmbot-producer new-source")
    assert f"share is {older};" in refused(road, *NEW_SOURCE, "--after", str(older + 1))
    assert f"rows after {older} belong" in road.must(*NEW_SOURCE)
    assert identities(road) == written
    assert "nothing is wrong" in refused(road, *NEW_SOURCE)
    load_all(road)


def test_a_file_that_is_older_than_its_newest_identity(road: Road) -> None:
    road.backfill(400)
    oldest, start = road.back_up("oldest.db"), newest_id(road)
    work(road, 100)
    backup = road.back_up()
    work(road, 100)
    load_all(road)
    road.restore(backup)
    road.must(*NEW_SOURCE)
    work(road)
    load_all(road)
    lost = identities(road)[-1][0]
    newest = newest_id(road)

    road.restore(oldest)
    work(road, 50)
    stopped(road.produce("actions"), "crmbot-producer new-source")
    unheard = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
    assert f"--former-source {unheard}" in refused(road, *NEW_SOURCE, "--former-source", unheard)
    road.must(*NEW_SOURCE, "--former-source", lost)
    _, former, present = identities(road)
    assert former == (lost, start, newest)
    assert present[1] == start
    load_all(road)


def test_unknown_sources_are_named(road: Road) -> None:
    restored(road)
    sender = PageSender({"bootstrap.servers": road.bootstrap}, road.mrf, "actions", ACTIONS.topic(road.mrf))
    other = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
    sender.commit_offsets([SourceOffset(other, 5, "e", 3, {0: 5})])
    sender.close()
    assert f"this file does not know: {other}" in road.must(*NEW_SOURCE)


def test_a_file_that_was_restored_while_the_state_was_lost(road: Road) -> None:
    older, newest = restored(road)
    lose_state(road)
    work(road, 100)
    stopped(road.produce("actions"), "crmbot-producer resend")
    assert "crmbot-producer new-source" in refused(road, *RESEND, code=3)
    road.must(*NEW_SOURCE)
    assert identities(road)[0][1:] == (0, newest)
    assert identities(road)[1][1] == older
    load_all(road)


def test_partitions_are_not_raised_while_a_resend_is_under_way(road: Road) -> None:
    road.backfill(500)
    load_all(road)
    road.must("crmbot-producer", "topics", PARTITIONS="7")
    lose_state(road)
    road.query("DELETE FROM {actions} WHERE transaction_id = 50")
    assert "after 49 go to 3 partitions" in road.must(*RESEND)
    assert "not everything is loaded yet" in refused(road, *REPARTITION)
    road.send_all()
    road.consume("actions")
    wait_until(lambda: "go to 7 partitions" in road.run(*REPARTITION).stdout, "the copies are dropped")


def test_a_file_that_is_restored_while_rows_are_to_be_sent_again(road: Road) -> None:
    road.backfill(500)
    backup = road.back_up()
    work(road)
    road.send_all()
    newest = newest_id(road)
    lose_state(road)
    assert "after 0 go to 3 partitions" in road.must(*RESEND)
    road.restore(backup)
    work(road, 200)
    assert newest_id(road) != newest
    work(road, 200)
    assert newest_id(road) > newest
    stopped(road.produce("actions"), f"row {newest}, which was sent, is another one", "new-source")
    consumer = road.consume("actions")
    wait_until(lambda: not road.run(*NEW_SOURCE).returncode, "everything is loaded")
    stop(consumer)
    load_all(road)


def test_what_kafka_lost_of_an_identity_that_has_ended_is_sent_again(road: Road) -> None:
    road.backfill(500)
    load_all(road)
    work(road)
    backup = road.back_up()
    work(road)
    road.send_all()
    delete_messages(road, 0)
    road.must(*ACCEPT_LOSS, "--partition", "0")
    road.restore(backup)
    consumer = road.consume("actions")
    wait_until(lambda: not road.run(*NEW_SOURCE).returncode, "everything that Kafka has is loaded")
    assert 0 in copies(road)
    stop(consumer)
    load_all(road)


def test_a_source_that_was_rejected_by_mistake_is_accepted_again(road: Road) -> None:
    road.backfill(500)
    ((source_id, _, _),) = identities(road)
    decision = ("--stream", "actions", "--source-id", source_id)
    assert "is not rejected" in refused(road, "crmbot-consumer", "accept-source", *decision)
    road.must("crmbot-consumer", "reject-source", *decision)
    road.produce("nature")
    road.consume("nature")
    all_are_bad = {"MAX_REJECTS_IN_A_ROW": "1000000", "MAX_REJECTS_SHARE": "1"}
    producer, consumer = road.produce("actions"), road.consume("actions", **all_are_bad)
    wait_until(lambda: dead_letters(road) == road.in_file("actions"), "all are dead letters")
    assert consumer.terminate() == producer.terminate() == 0
    (broken,) = road.audit()["streams"][0]["broken_promises"]
    assert f"crmbot-consumer accept-source {' '.join(decision)}" in broken
    road.must("crmbot-consumer", "accept-source", *decision)
    road.must(*RESEND)
    road.produce("actions")
    road.consume("actions", **all_are_bad)
    wait_until(lambda: 0 not in copies(road), "every row of the file in the warehouse")
    result = road.audit()
    assert result["clean"], result


def dead_letters(road: Road) -> int:
    ((number,),) = road.query(
        "SELECT count(*) FROM crm_bot_rejects WHERE topic = %s", ACTIONS.topic(road.mrf)
    )
    return int(number)
