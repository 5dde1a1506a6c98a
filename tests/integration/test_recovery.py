"""Recovery commands: `resend` after a loss in Kafka, `new-source` after a restore of the bot's file."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from crmbot_core import ledger
from crmbot_core.contracts import ACTIONS, NATURE
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
from devstack.services import Service
from tests.integration.messages import action, send
from tests.integration.pipeline import Pipeline, wait_until

RESEND = ("crmbot-producer", "resend", "--stream", "actions")
REPARTITION = ("crmbot-producer", "repartition", "--stream", "actions")
NEW_SOURCE = ("crmbot-producer", "new-source", "--stream", "actions")
ADOPT_TOPIC = ("crmbot-consumer", "adopt-topic", "--stream", "actions")
ACCEPT_LOSS = ("crmbot-consumer", "accept-loss", "--stream", "actions")


def write_rows(pipeline: Pipeline) -> None:
    """Write rows of new leads to the bot's files, which are made if they are missing."""
    pipeline.check_output("crmbot-generator", "load", "--rate", "300", "--seconds", "1")


def stop(service: Service) -> None:
    assert service.terminate() == 0


def in_file(pipeline: Pipeline, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{pipeline.data / 'actions.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def newest_id(pipeline: Pipeline) -> int:
    return int(in_file(pipeline, "SELECT coalesce(max(transaction_id), 0) FROM actions")[0][0])


def identities(pipeline: Pipeline) -> list[tuple[str, int, int | None]]:
    return in_file(
        pipeline, "SELECT source_id, starts_after, lost_up_to FROM source ORDER BY starts_after, rowid"
    )


def loaded_copies(pipeline: Pipeline) -> list[int]:
    """Return, for each row of the file, how many copies of it the warehouse has."""
    loaded = Counter(pipeline.query("SELECT transaction_id, event_id::text FROM {actions}"))
    return [loaded[row] for row in in_file(pipeline, "SELECT transaction_id, event_id FROM actions")]


def wait_until_each_loaded_once(pipeline: Pipeline) -> None:
    wait_until(lambda: 0 not in loaded_copies(pipeline), "every row of the file is loaded")
    assert set(loaded_copies(pipeline)) == {1}
    assert pipeline.query("SELECT event_id FROM {actions} GROUP BY event_id HAVING count(*) > 1") == []
    rejected = "SELECT reason FROM crm_bot_rejects WHERE topic = %s"
    assert pipeline.query(rejected, ACTIONS.topic(pipeline.mrf)) == []


def moved_leads(pipeline: Pipeline) -> list[str]:
    query = "SELECT lead_id FROM {actions} GROUP BY lead_id HAVING count(DISTINCT kafka_partition) > 1"
    return [lead for (lead,) in pipeline.query(query)]


def load_all(pipeline: Pipeline) -> None:
    """Run a producer and a consumer until every row is loaded once."""
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
    wait_until_each_loaded_once(pipeline)
    for service in (producer, consumer):
        service.port()  # it has started, so it handles signals
        stop(service)


def assert_stopped(service: Service, *words: str) -> None:
    assert service.exit_code() == 3, service.log.read_text()
    for word in words:
        assert service.logged(word), service.log.read_text()


def refused(pipeline: Pipeline, *command: str, code: int = 2) -> str:
    """Run a command that must refuse, and return the line it prints."""
    done = pipeline.run(*command)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}{done.stderr}"
    (line,) = done.stderr.splitlines()
    return line


def lose_state(pipeline: Pipeline) -> None:
    """Delete the producer's records of all identities of the file."""
    producer = Producer({"bootstrap.servers": pipeline.bootstrap})
    for source_id, _, _ in identities(pipeline):
        producer.produce(STATE_TOPIC, None, f"{pipeline.mrf}|actions|{source_id}".encode(), partition=0)
    assert producer.flush(30) == 0


def remove_file(pipeline: Pipeline) -> None:
    """Delete actions.db; the bot makes a new one, with another identity."""
    for file in pipeline.data.glob("actions.db*"):
        file.unlink()


def delete_messages(pipeline: Pipeline, partition: int) -> None:
    """Delete all messages of a partition, as retention does."""
    admin = admin_client({"bootstrap.servers": pipeline.bootstrap})
    place = TopicPartition(ACTIONS.topic(pipeline.mrf), partition)
    place.offset = offsets(admin, [place], LATEST)[place.topic, partition]
    (answer,) = admin.delete_records([place]).values()
    answer.result(30)


# resend


def test_a_lost_state_topic_stops_the_producer_until_it_is_rebuilt(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    load_all(pipeline)
    pipeline.recreate(STATE_TOPIC)
    pipeline.run_bot()
    assert_stopped(pipeline.produce("actions"), "no record of what was sent", "crmbot-producer resend")
    said = pipeline.check_output(*RESEND)
    assert re.search(r"rows of \S+ after \d+ go to 3 partitions", said)
    assert pipeline.check_output(*RESEND) == said
    load_all(pipeline)
    assert moved_leads(pipeline) == []
    duplicates = "SELECT sum(rows_duplicate) FROM crm_bot_ledger WHERE topic = %s"
    assert pipeline.query(duplicates, ACTIONS.topic(pipeline.mrf)) == [(0,)]


def test_resend_keeps_rows_in_their_partitions_after_partitions_were_added(pipeline: Pipeline) -> None:
    pipeline.backfill(1_000)
    load_all(pipeline)
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="7")
    lose_state(pipeline)
    pipeline.run_bot()
    assert "go to 3 partitions" in pipeline.check_output(*RESEND)
    load_all(pipeline)
    assert moved_leads(pipeline) == []

    pipeline.check_output(*REPARTITION)
    pipeline.run_bot()
    load_all(pipeline)
    lose_state(pipeline)
    pipeline.run_bot()
    assert "go to 7 partitions" in pipeline.check_output(*RESEND)
    load_all(pipeline)


def test_messages_resent_before_they_are_loaded_are_loaded_once(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="7")
    pipeline.run_bot()
    pipeline.send_all()
    lose_state(pipeline)
    pipeline.run_bot()
    assert "--partitions N" in refused(pipeline, *RESEND, "--partitions", "7", code=3)
    assert "go to 3 partitions" in pipeline.check_output(*RESEND)
    pipeline.send_all()
    load_all(pipeline)
    assert moved_leads(pipeline) == []


def test_everything_is_resent_if_nothing_is_loaded(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    pipeline.send_all()
    lose_state(pipeline)
    assert_stopped(pipeline.produce("actions"), "crmbot-producer resend")
    assert "after 0 go to 3 partitions" in pipeline.check_output(*RESEND)
    load_all(pipeline)


def test_a_record_that_cannot_be_decoded_is_rebuilt(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    ((source_id, _, _),) = identities(pipeline)
    producer = Producer({"bootstrap.servers": pipeline.bootstrap})
    producer.produce(STATE_TOPIC, b"\xff", f"{pipeline.mrf}|actions|{source_id}".encode(), partition=0)
    assert producer.flush(30) == 0
    assert_stopped(pipeline.produce("actions"), "crmbot-producer resend --stream actions")
    pipeline.check_output(*RESEND)
    pipeline.run_bot()
    load_all(pipeline)


def test_messages_lost_by_kafka_are_resent(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.run_bot()
    pipeline.send_all()
    delete_messages(pipeline, 0)
    assert_stopped(pipeline.consume("actions"), "data loss", "crmbot-consumer accept-loss")
    pipeline.check_output(*ACCEPT_LOSS, "--partition", "0")
    pipeline.run_bot()
    pipeline.send_all()
    assert_stopped(pipeline.consume("actions"), "Kafka lost what lies between", "crmbot-producer resend")
    assert 0 in loaded_copies(pipeline)
    pipeline.check_output(*RESEND)
    load_all(pipeline)
    superseded = "SELECT sum(rows_superseded) > 0 FROM crm_bot_ledger WHERE topic = %s"
    assert pipeline.query(superseded, ACTIONS.topic(pipeline.mrf)) == [(True,)]


def test_resend_supersedes_a_forged_gap_of_a_former_file(pipeline: Pipeline) -> None:
    """The warehouse has all rows of the former file, so the gap that a forged message opens is not a loss."""
    pipeline.backfill(500)
    load_all(pipeline)
    ((former, _, _),) = identities(pipeline)
    remove_file(pipeline)
    write_rows(pipeline)
    load_all(pipeline)
    forged = action(pipeline.mrf, 2**62 + 1, source_id=former)
    send(pipeline.bootstrap, ACTIONS.topic(pipeline.mrf), [forged])
    write_rows(pipeline)
    pipeline.send_all()
    assert_stopped(pipeline.consume("actions"), "Kafka lost what lies between", "crmbot-producer resend")
    pipeline.check_output(*RESEND)
    load_all(pipeline)
    forgeries = "SELECT count(*) FROM {actions} WHERE event_id = %s"
    assert pipeline.query(forgeries, forged["event_id"]) == [(0,)]


def test_rows_lost_by_kafka_and_the_file_remain_a_gap(pipeline: Pipeline) -> None:
    """The producer's record shows that rows of the former file were sent that the warehouse lacks."""
    pipeline.backfill(500)
    load_all(pipeline)
    ((former, _, _),) = identities(pipeline)
    pipeline.run_bot()
    pipeline.send_all()
    delete_messages(pipeline, 0)
    pipeline.check_output(*ACCEPT_LOSS, "--partition", "0")
    pipeline.run_bot()
    pipeline.send_all()
    remove_file(pipeline)
    write_rows(pipeline)
    pipeline.send_all()
    pipeline.check_output(*RESEND)
    assert_stopped(pipeline.consume("actions"), "Kafka lost what lies between", former)


def test_resend_fills_an_accepted_loss(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.run_bot()
    pipeline.send_all()
    delete_messages(pipeline, 0)
    pipeline.check_output(*ACCEPT_LOSS, "--partition", "0")
    pipeline.run_bot()
    pipeline.send_all()
    consumer = pipeline.consume("actions")
    assert_stopped(consumer, "accept-loss")
    advice = re.search(
        r"accept-loss --stream actions (--partition 0 --source-id \S+ --after-id \d+ --up-to-id \d+)",
        consumer.log.read_text(),
    )
    assert advice, consumer.log.read_text()
    pipeline.check_output(*ACCEPT_LOSS, *advice[1].split())
    consumer = pipeline.consume("actions")
    wait_until(
        lambda: max(pipeline.query("SELECT max(transaction_id) FROM {actions}"))[0] == newest_id(pipeline),
        "the newest row is loaded",
    )
    assert 0 in loaded_copies(pipeline)
    stop(consumer)
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="7")
    assert "can come again only as rows are spread now" in refused(pipeline, *REPARTITION)
    pipeline.check_output(*RESEND)
    load_all(pipeline)
    assert "go to 7 partitions" in pipeline.check_output(*REPARTITION)
    gaps = "SELECT gaps::text FROM crm_bot_ledger WHERE topic = %s AND kafka_partition = 0 ORDER BY 1"
    assert (
        "{}"
        in pipeline.query(gaps, ACTIONS.topic(pipeline.mrf))[-1]
        + pipeline.query(gaps, ACTIONS.topic(pipeline.mrf))[0]
    )


def test_a_recreated_topic_is_adopted_and_refilled(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.run_bot()
    pipeline.send_all()
    pipeline.recreate(ACTIONS.topic(pipeline.mrf))
    assert "adopt-topic" in refused(pipeline, *RESEND, code=3)
    assert_stopped(pipeline.consume("actions"), "crmbot-consumer adopt-topic")
    pipeline.check_output(*ADOPT_TOPIC)
    assert "adopt-topic" not in pipeline.check_output(*RESEND)
    pipeline.run_bot()
    load_all(pipeline)


@pytest.mark.parametrize("partitions", [2, 3, 6])
def test_a_rebuilt_cluster_loads_nothing_twice_whatever_its_number_of_partitions(
    pipeline: Pipeline, partitions: int
) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.run_bot()
    pipeline.send_all()  # not loaded
    pipeline.extra["PARTITIONS"] = str(partitions)
    pipeline.recreate(STATE_TOPIC, ACTIONS.topic(pipeline.mrf), NATURE.topic(pipeline.mrf))
    pipeline.send_all()  # knows of no earlier rows, and sends all of them
    for command, words in (
        (ADOPT_TOPIC, "the topic was deleted and recreated"),
        (RESEND, "the topic was adopted, but the producer's records do not fit it yet"),
    ):
        assert_stopped(pipeline.consume("actions"), words, " ".join(command))
        pipeline.check_output(*command)
    load_all(pipeline)
    pipeline.run_bot()
    load_all(pipeline)


def test_a_topic_that_was_adopted_is_not_loaded_before_the_records_fit_it(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.recreate(STATE_TOPIC, ACTIONS.topic(pipeline.mrf))
    pipeline.check_output(*ADOPT_TOPIC)
    pipeline.extra["PARTITIONS"] = "6"
    pipeline.check_output("crmbot-producer", "topics")
    pipeline.send_all()
    assert_stopped(pipeline.consume("actions"), "the topic was adopted", " ".join(RESEND))
    pipeline.check_output(*RESEND)
    load_all(pipeline)


def test_a_producer_started_meanwhile_fences_resend(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    kafka = {"bootstrap.servers": pipeline.bootstrap}
    order, rivals = ledger.order_resend, []

    def order_and_get_fenced(*arguments: Any) -> None:  # noqa: ANN401  (passed on)
        order(*arguments)
        rivals.append(PageSender(kafka, pipeline.mrf, "actions", ACTIONS.topic(pipeline.mrf)))

    monkeypatch.setattr(ledger, "order_resend", order_and_get_fenced)
    with pytest.raises(StoppedError, match="stop the producer, then run this again"):
        resend(recovery_settings(pipeline), kafka)
    rivals[0].close()
    monkeypatch.undo()
    pipeline.run_bot()
    load_all(pipeline)
    pipeline.check_output(*RESEND)
    pipeline.run_bot()
    load_all(pipeline)


# new-source


def recovery_settings(pipeline: Pipeline) -> RecoverySettings:
    return RecoverySettings(
        mrf=pipeline.mrf, stream="actions", data_dir=pipeline.data, warehouse_dsn=pipeline.dsn
    )


def restore_older_copy(pipeline: Pipeline) -> tuple[int, int]:
    """Restore an older copy after more rows were loaded; return the newest ids of the copy and the file."""
    pipeline.backfill(700)
    backup = pipeline.back_up()
    older = newest_id(pipeline)
    pipeline.run_bot()
    load_all(pipeline)
    newest = newest_id(pipeline)
    pipeline.restore(backup)
    return older, newest


def test_a_restored_file_that_the_bot_continued_gets_a_new_identity(pipeline: Pipeline) -> None:
    older, newest = restore_older_copy(pipeline)
    pipeline.run_bot()
    assert older < newest_id(pipeline) < newest
    assert_stopped(pipeline.produce("actions"), "was replaced or restored", "crmbot-producer new-source")
    assert "crmbot-producer new-source" in refused(pipeline, *RESEND, code=3)
    for wrong in (older - 200, older + 1):
        assert f"share is {older};" in refused(pipeline, *NEW_SOURCE, "--after", str(wrong))
    assert f"rows after {older} belong" in pipeline.check_output(*NEW_SOURCE, "--after", str(older))
    (_, first_start, lost_up_to), (_, second_start, _) = identities(pipeline)
    assert (first_start, second_start, lost_up_to) == (0, older, newest)
    load_all(pipeline)
    assert "nothing is wrong" in refused(pipeline, *NEW_SOURCE)
    pipeline.check_output(*RESEND)
    pipeline.run_bot()
    load_all(pipeline)


def test_a_restored_file_that_the_bot_did_not_continue_gets_a_new_identity(pipeline: Pipeline) -> None:
    older, newest = restore_older_copy(pipeline)
    assert f"rows after {older} belong" in pipeline.check_output(*NEW_SOURCE)
    pipeline.run_bot()
    load_all(pipeline)
    assert identities(pipeline)[0][2] == newest


def test_a_file_restored_to_the_start_of_its_identity(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    connection = sqlite3.connect(pipeline.data / "actions.db")
    load_all(pipeline)
    connection.execute("DELETE FROM actions")
    connection.execute("DELETE FROM sqlite_sequence")
    connection.commit()
    connection.close()
    assert_stopped(pipeline.produce("actions"), "crmbot-producer new-source")
    assert "rows after 0 belong" in pipeline.check_output(*NEW_SOURCE, "--after", "0")
    pipeline.run_bot()
    load_all(pipeline)
    with closing(sqlite3.connect(pipeline.data / "actions.db")) as connection, connection:
        connection.execute("DELETE FROM actions")
        connection.execute("DELETE FROM sqlite_sequence")
    assert "rows after 0 belong" in pipeline.check_output(*NEW_SOURCE)
    assert [start for _, start, _ in identities(pipeline)] == [0, 0, 0]
    pipeline.run_bot()
    load_all(pipeline)


def test_new_source_changes_nothing_if_the_file_was_not_restored(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
    wait_until_each_loaded_once(pipeline)
    assert "nothing is wrong" in refused(pipeline, *NEW_SOURCE)
    pipeline.run_bot()
    assert_stopped(producer, "fenced by another producer")
    assert "nothing is wrong" in refused(pipeline, *NEW_SOURCE, "--after", "100")
    assert len(identities(pipeline)) == 1
    stop(consumer)
    load_all(pipeline)


def test_new_source_refuses_until_everything_is_loaded(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    backup = pipeline.back_up()
    load_all(pipeline)
    pipeline.run_bot()
    pipeline.send_all()
    pipeline.restore(backup)
    pipeline.run_bot()
    assert "not everything is loaded yet" in refused(pipeline, *NEW_SOURCE)
    assert len(identities(pipeline)) == 1
    consumer = pipeline.consume("actions")
    wait_until(lambda: not pipeline.run(*NEW_SOURCE).returncode, "everything is loaded")
    stop(consumer)
    load_all(pipeline)


def test_an_interrupted_new_source_is_completed_by_the_next_run(
    pipeline: Pipeline, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, _ = restore_older_copy(pipeline)
    settings, topic = {"bootstrap.servers": kafka.bootstrap_servers}, ACTIONS.topic(pipeline.mrf)
    rivals = []

    def check_and_get_fenced(*arguments: Any) -> dict[int, Position]:  # noqa: ANN401  (passed on)
        rivals.append(PageSender(settings, pipeline.mrf, "actions", topic))
        return checked_positions(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("crmbot_producer.resend.checked_positions", check_and_get_fenced)
        with pytest.raises(StoppedError, match="run this again"):
            new_source_module.new_source(recovery_settings(pipeline), settings)
    rivals[0].close()
    written = identities(pipeline)
    assert len(written) == 2
    pipeline.run_bot()
    assert_stopped(pipeline.produce("actions"), "crmbot-producer new-source")
    assert f"share is {older};" in refused(pipeline, *NEW_SOURCE, "--after", str(older + 1))
    assert f"rows after {older} belong" in pipeline.check_output(*NEW_SOURCE)
    assert identities(pipeline) == written
    assert "nothing is wrong" in refused(pipeline, *NEW_SOURCE)
    load_all(pipeline)


def test_a_file_restored_from_before_its_newest_identity(pipeline: Pipeline) -> None:
    pipeline.backfill(400)
    oldest, start = pipeline.back_up("oldest.db"), newest_id(pipeline)
    pipeline.run_bot()
    backup = pipeline.back_up()
    pipeline.run_bot()
    load_all(pipeline)
    pipeline.restore(backup)
    pipeline.check_output(*NEW_SOURCE)
    pipeline.run_bot()
    load_all(pipeline)
    lost = identities(pipeline)[-1][0]
    newest = newest_id(pipeline)

    pipeline.restore(oldest)
    pipeline.run_bot()
    assert_stopped(pipeline.produce("actions"), "crmbot-producer new-source")
    unknown = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
    assert f"--former-source {unknown}" in refused(pipeline, *NEW_SOURCE, "--former-source", unknown)
    pipeline.check_output(*NEW_SOURCE, "--former-source", lost)
    _, former, present = identities(pipeline)
    assert former == (lost, start, newest)
    assert present[1] == start
    load_all(pipeline)


def test_a_copy_taken_between_a_restore_and_its_new_source_is_restored(pipeline: Pipeline) -> None:
    pipeline.backfill(400)
    load_all(pipeline)
    older, start = pipeline.back_up("older.db"), newest_id(pipeline)
    pipeline.run_bot()
    load_all(pipeline)
    pipeline.restore(older)
    pipeline.run_bot()
    between, end = pipeline.back_up("between.db"), newest_id(pipeline)
    pipeline.check_output(*NEW_SOURCE)
    first, second = identities(pipeline)
    pipeline.run_bot()
    load_all(pipeline)

    pipeline.restore(between)
    pipeline.run_bot()
    assert_stopped(pipeline.produce("actions"), "crmbot-producer new-source")
    assert f"rows after {end} belong" in pipeline.check_output(*NEW_SOURCE)
    assert [(source, after) for source, after, _ in identities(pipeline)[:2]] == [
        (first[0], 0),
        (second[0], start),
    ]
    assert [after for _, after, _ in identities(pipeline)[2:]] == [end]
    load_all(pipeline)


def test_unknown_sources_are_named(pipeline: Pipeline) -> None:
    restore_older_copy(pipeline)
    sender = PageSender(
        {"bootstrap.servers": pipeline.bootstrap}, pipeline.mrf, "actions", ACTIONS.topic(pipeline.mrf)
    )
    other = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
    sender.commit_offsets([SourceOffset(other, 5, "e", 3, {0: 5})])
    sender.close()
    assert f"this file does not know: {other}" in pipeline.check_output(*NEW_SOURCE)


def test_a_file_restored_while_the_state_is_lost(pipeline: Pipeline) -> None:
    older, newest = restore_older_copy(pipeline)
    lose_state(pipeline)
    pipeline.run_bot()
    assert_stopped(pipeline.produce("actions"), "crmbot-producer resend")
    assert "crmbot-producer new-source" in refused(pipeline, *RESEND, code=3)
    pipeline.check_output(*NEW_SOURCE)
    assert identities(pipeline)[0][1:] == (0, newest)
    assert identities(pipeline)[1][1] == older
    load_all(pipeline)


def test_repartition_refuses_during_a_resend(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.check_output("crmbot-producer", "topics", PARTITIONS="7")
    lose_state(pipeline)
    pipeline.query("DELETE FROM {actions} WHERE transaction_id = 50")
    assert "after 49 go to 3 partitions" in pipeline.check_output(*RESEND)
    assert "not everything is loaded yet" in refused(pipeline, *REPARTITION)
    pipeline.send_all()
    pipeline.consume("actions")
    wait_until(
        lambda: "go to 7 partitions" in pipeline.run(*REPARTITION).stdout,
        "the resent rows are dropped as copies",
    )


def test_a_file_restored_during_a_resend_stops_the_producer(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    backup = pipeline.back_up()
    pipeline.run_bot()
    pipeline.send_all()
    newest = newest_id(pipeline)
    lose_state(pipeline)
    assert "after 0 go to 3 partitions" in pipeline.check_output(*RESEND)
    pipeline.restore(backup)
    pipeline.run_bot()
    assert newest_id(pipeline) != newest
    pipeline.run_bot()
    assert newest_id(pipeline) > newest
    assert_stopped(pipeline.produce("actions"), f"row {newest}, which was sent, is another one", "new-source")
    consumer = pipeline.consume("actions")
    wait_until(lambda: not pipeline.run(*NEW_SOURCE).returncode, "everything is loaded")
    stop(consumer)
    load_all(pipeline)


def test_new_source_resends_what_kafka_lost_of_the_former_identity(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    load_all(pipeline)
    pipeline.run_bot()
    backup = pipeline.back_up()
    pipeline.run_bot()
    pipeline.send_all()
    delete_messages(pipeline, 0)
    pipeline.check_output(*ACCEPT_LOSS, "--partition", "0")
    pipeline.restore(backup)
    consumer = pipeline.consume("actions")
    wait_until(lambda: not pipeline.run(*NEW_SOURCE).returncode, "everything that Kafka has is loaded")
    assert 0 in loaded_copies(pipeline)
    stop(consumer)
    load_all(pipeline)


def test_a_source_that_was_rejected_by_mistake_is_accepted_again(pipeline: Pipeline) -> None:
    pipeline.backfill(500)
    ((source_id, _, _),) = identities(pipeline)
    decision = ("--stream", "actions", "--source-id", source_id)
    assert "is not rejected" in refused(pipeline, "crmbot-consumer", "accept-source", *decision)
    pipeline.check_output("crmbot-consumer", "reject-source", *decision)
    pipeline.produce("nature")
    pipeline.consume("nature")
    all_are_bad = {"MAX_REJECTS_IN_A_ROW": "1000000", "MAX_REJECTS_SHARE": "1"}
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions", **all_are_bad)
    wait_until(lambda: dead_letters(pipeline) == pipeline.in_file("actions"), "all rows are dead letters")
    assert consumer.terminate() == producer.terminate() == 0
    (broken,) = pipeline.audit()["streams"][0]["broken_promises"]
    assert f"crmbot-consumer accept-source {' '.join(decision)}" in broken
    pipeline.check_output("crmbot-consumer", "accept-source", *decision)
    pipeline.check_output(*RESEND)
    pipeline.produce("actions")
    pipeline.consume("actions", **all_are_bad)
    wait_until(lambda: 0 not in loaded_copies(pipeline), "every row of the file is loaded")
    result = pipeline.audit()
    assert result["clean"], result


def dead_letters(pipeline: Pipeline) -> int:
    ((number,),) = pipeline.query(
        "SELECT count(*) FROM crm_bot_rejects WHERE topic = %s", ACTIONS.topic(pipeline.mrf)
    )
    return int(number)
