"""The consumer: messages, other consumers, and failures of broker and warehouse."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from uuid import UUID

import structlog
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from crmbot_consumer.batch import Preparation
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.kafka import Subscription
from crmbot_consumer.messages import Messages
from crmbot_consumer.warehouse import Load, Warehouse
from crmbot_core.contracts import ACTIONS
from crmbot_core.kafka import LATEST, offsets
from crmbot_core.ledger import FencedError, Position
from crmbot_core.settings import WarehouseSettings
from devstack import Kafka, Postgres
from devstack.services import Service
from tests.integration.messages import SOURCE, action, send
from tests.integration.pipeline import Pipeline, wait_until


def topic(pipeline: Pipeline) -> str:
    return f"crm_bot_actions_{pipeline.mrf}"


def rejects(pipeline: Pipeline) -> list[tuple[int, str, bytes | None]]:
    return pipeline.query(
        "SELECT kafka_offset, reason, message_value FROM crm_bot_rejects WHERE topic = %s ORDER BY 1",
        topic(pipeline),
    )


def loaded_ids(pipeline: Pipeline) -> list[int]:
    return [
        row[0]
        for row in pipeline.query(
            "SELECT transaction_id FROM {actions} ORDER BY kafka_partition, kafka_offset"
        )
    ]


def lag_seconds(consumer: Service) -> float:
    lines = consumer.get("/metrics")[1].splitlines()
    return float(next(line for line in lines if line.startswith("crmbot_consumer_lag_seconds")).split()[1])


def test_invalid_messages_are_rejected_byte_for_byte_and_block_nothing(pipeline: Pipeline) -> None:
    bad: list[bytes | None] = [
        None,
        b"",
        b"\xff\xfe not utf-8",
        b'{"schema_version": 1',
        json.dumps(action(pipeline.mrf, 50, schema_version=2)).encode(),
        json.dumps(action(pipeline.mrf, 51, surprise="yes")).encode(),
        json.dumps(action("mrf99", 52)).encode(),
        json.dumps(action(pipeline.mrf, 53, lead_id="another")).encode(),
        json.dumps(action(pipeline.mrf, 54, occurred_at="2026-02-30T00:00:00.000Z")).encode(),
        b'{"\\u0000": 1}',
    ]
    good = [action(pipeline.mrf, number) for number in range(1, 11)]
    send(pipeline.bootstrap, topic(pipeline), [*good[:5], *bad, *good[5:]])
    pipeline.consume("actions")
    wait_until(lambda: len(loaded_ids(pipeline)) == len(good), "the good rows are loaded")
    assert loaded_ids(pipeline) == list(range(1, 11))
    found = rejects(pipeline)
    assert [None if value is None else bytes(value) for _, _, value in found] == bad
    assert [offset for offset, _, _ in found] == list(range(5, 5 + len(bad)))
    assert all(
        word in reason
        for word, (_, reason, _) in zip(
            [
                "empty",
                "JSON",
                "JSON",
                "JSON",
                "schema_version",
                "unknown",
                "mrf",
                "lead_id",
                "occurred_at",
                "Field",
            ],
            found,
            strict=True,
        )
    )


def test_text_that_copy_would_misread_arrives_unchanged(pipeline: Pipeline) -> None:
    odd = ["a\tb", "a\nb\r\n", "back\\slash\\n", "\\N", "\\.", "None", '"quoted"', "ООО «Ромашка»", "🙂"]
    send(
        pipeline.bootstrap,
        topic(pipeline),
        [action(pipeline.mrf, n, client_name=name) for n, name in enumerate(odd, start=1)],
    )
    pipeline.consume("actions")
    wait_until(lambda: len(loaded_ids(pipeline)) == len(odd), "all rows are loaded")
    assert [
        row[0] for row in pipeline.query("SELECT client_name FROM {actions} ORDER BY transaction_id")
    ] == odd


def test_copies_are_dropped_and_foreign_messages_are_rejected(pipeline: Pipeline) -> None:
    first = [
        action(pipeline.mrf, id_, previous_id=previous) for id_, previous in ((1, 0), (2, 1), (3, 2), (6, 3))
    ]
    send(pipeline.bootstrap, topic(pipeline), first)
    consumer = pipeline.consume("actions")
    wait_until(lambda: len(loaded_ids(pipeline)) == 4, "the first rows are loaded")
    # A copy in a later batch, a copy within a batch, and an id that the chain has skipped.
    late = [action(pipeline.mrf, id_) for id_ in (7, 7, 5, 8)]
    send(pipeline.bootstrap, topic(pipeline), [*first, *late])
    wait_until(lambda: loaded_ids(pipeline) == [1, 2, 3, 6, 7, 8], "the next rows are loaded")
    ((_, reason, _),) = rejects(pipeline)
    assert "transaction_id 5" in reason
    assert "does not have this row" in reason
    assert pipeline.query(
        "SELECT sum(rows_duplicate) FROM crm_bot_ledger WHERE topic = %s", topic(pipeline)
    ) == [(5,)]
    labels = f'{{mrf="{pipeline.mrf}",stream="actions"}}'
    wait_until(
        lambda: f"crmbot_consumer_rows_duplicate_total{labels} 5.0" in consumer.get("/metrics")[1],
        "the duplicates are counted",
    )


def test_a_copy_in_another_partition_is_rejected(pipeline: Pipeline) -> None:
    rows = [action(pipeline.mrf, number) for number in (1, 2)]
    send(pipeline.bootstrap, topic(pipeline), rows)
    send(pipeline.bootstrap, topic(pipeline), rows, partition=1)
    pipeline.consume("actions")
    wait_until(lambda: len(rejects(pipeline)) == 2, "the copies are rejected")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2], "the rows are loaded")


def test_a_different_row_with_a_known_id_is_rejected(pipeline: Pipeline) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1), action(pipeline.mrf, 2)])
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2], "the rows are loaded")
    send(
        pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 2, city="Тверь"), action(pipeline.mrf, 3)]
    )
    wait_until(lambda: loaded_ids(pipeline) == [1, 2, 3], "the next row is loaded")
    assert len(rejects(pipeline)) == 1


def test_a_forged_message_with_a_huge_id_rejects_no_row_of_the_bot(pipeline: Pipeline) -> None:
    forged = action(pipeline.mrf, 2**62, previous_id=5)
    send(
        pipeline.bootstrap,
        topic(pipeline),
        [action(pipeline.mrf, 1), forged, *(action(pipeline.mrf, n) for n in (2, 3))],
    )
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2, 3], "the rows are loaded")
    assert len(rejects(pipeline)) == 1


def test_too_many_consecutive_rejects_stop_the_consumer_before_anything_is_loaded(pipeline: Pipeline) -> None:
    send(
        pipeline.bootstrap,
        topic(pipeline),
        [action(pipeline.mrf, number, schema_version=2) for number in range(1, 30)],
    )
    consumer = pipeline.consume("actions", MAX_REJECTS_IN_A_ROW="20")
    assert consumer.exit_code() == 3
    assert "in a row break the contract" in consumer.log.read_text()
    assert rejects(pipeline) == []
    assert pipeline.query("SELECT count(*) FROM crm_bot_ledger WHERE topic = %s", topic(pipeline)) == [(0,)]


def test_a_restart_does_not_reset_the_count_of_rejects(pipeline: Pipeline) -> None:
    def send_bad(first: int) -> None:
        bad = [action(pipeline.mrf, number, schema_version=2) for number in range(first, first + 12)]
        send(pipeline.bootstrap, topic(pipeline), bad)

    send_bad(1)
    consumer = pipeline.consume("actions", MAX_REJECTS_IN_A_ROW="20")
    wait_until(lambda: len(rejects(pipeline)) == 12, "the first rejects")
    assert consumer.terminate() == 0
    send_bad(13)
    for _ in range(2):
        stopped = pipeline.consume("actions", MAX_REJECTS_IN_A_ROW="20")
        assert stopped.exit_code() == 3
        assert "20 messages in a row" in stopped.log.read_text()
    assert len(rejects(pipeline)) == 12
    pipeline.consume("actions", MAX_REJECTS_IN_A_ROW="25")
    wait_until(lambda: len(rejects(pipeline)) == 24, "a higher limit lets all of them through")


def test_too_large_a_share_of_rejects_stops_the_consumer_again_after_a_restart(
    pipeline: Pipeline,
) -> None:
    def send_mixed(first: int, messages: int) -> None:
        mixed = [
            action(pipeline.mrf, number, schema_version=2 if number % 10 < 4 else 1)
            for number in range(first, first + messages)
        ]
        send(pipeline.bootstrap, topic(pipeline), mixed)

    send_mixed(1, 900)
    consumer = pipeline.consume("actions", MAX_REJECTS_SHARE="0.3")
    wait_until(lambda: len(rejects(pipeline)) == 360, "the share is not limited before 1,000 messages")
    assert consumer.terminate() == 0
    send_mixed(901, 200)
    for _ in range(2):
        stopped = pipeline.consume("actions", MAX_REJECTS_SHARE="0.3")
        assert stopped.exit_code() == 3
        assert "of the last 1" in stopped.log.read_text()
    pipeline.consume("actions", MAX_REJECTS_SHARE="0.4")
    wait_until(lambda: len(rejects(pipeline)) == 440, "a higher limit lets all of them through")
    assert len(loaded_ids(pipeline)) == 660


def test_the_second_load_of_a_range_is_refused_entirely(pipeline: Pipeline) -> None:
    settings = WarehouseSettings(warehouse_dsn=pipeline.dsn)
    values = [json.dumps(action(pipeline.mrf, number)).encode() for number in (1, 2, 3)]
    messages = Messages([0, 1, 2], [b"L1"] * 3, list(values))
    batch = Preparation(ACTIONS, pipeline.mrf)(0, Position("id", 0), messages)
    load = Load([batch], [copy_text(batch.rows, batch.offsets)])
    warehouses = [Warehouse(settings, ACTIONS, pipeline.mrf, copy_columns(ACTIONS), 30) for _ in range(2)]
    outcomes = []
    for warehouse in warehouses:
        try:
            warehouse.load(load)
            outcomes.append("loaded")
        except FencedError:
            outcomes.append("fenced")
        warehouse.close()
    assert outcomes == ["loaded", "fenced"]
    assert loaded_ids(pipeline) == [1, 2, 3]


class OtherMember:
    """A member of the group that loads nothing."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.read_to: dict[int, int] = {}  # by partition, at its last assignment
        settings = {"bootstrap.servers": pipeline.bootstrap}
        logger = structlog.get_logger()
        self.subscription = Subscription(
            settings, topic(pipeline), self, logger, poll_seconds=300, close_seconds=30
        )

    def resume_positions(self, partitions: Sequence[int]) -> dict[int, Position]:
        return {}

    def on_assigned(self, positions: Mapping[int, Position]) -> None:
        self.read_to |= {partition: self.subscription.read_to(partition) for partition in positions}

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Nothing to finish."""

    def ends(self) -> list[int]:
        return [self.subscription.read_to(partition) for partition in range(3)]

    def has(self, partitions: int) -> bool:
        self.subscription.poll(100, 0.1)
        return len(self.subscription.assigned) == partitions


def test_read_positions_are_dropped_when_a_partition_is_revoked(pipeline: Pipeline) -> None:
    for partition in range(3):
        rows = [action(pipeline.mrf, number, kafka_partition=partition) for number in range(1, 6)]
        send(pipeline.bootstrap, topic(pipeline), rows, partition=partition)
    first = OtherMember(pipeline)
    with closing(first.subscription):
        wait_until(lambda: first.has(3), "all partitions are assigned")
        wait_until(lambda: first.has(3) and first.ends() == [5, 5, 5], "all messages were read")
        first.read_to.clear()
        second = OtherMember(pipeline)
        with closing(second.subscription):
            wait_until(lambda: not first.has(3) and second.has(1), "one of the partitions is revoked")
        wait_until(lambda: first.has(3), "the partition is assigned again")
    assert list(first.read_to.values()) == [0]


def test_offsets_are_committed_to_kafka_after_the_load(pipeline: Pipeline) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in range(1, 8)])
    consumer = pipeline.consume("actions")
    wait_until(lambda: len(loaded_ids(pipeline)) == 7, "all rows are loaded")
    assert consumer.terminate() == 0
    reader = Consumer(
        {"bootstrap.servers": pipeline.bootstrap, "group.id": f"crmbot-consumer-{topic(pipeline)}"}
    )
    (committed,) = reader.committed([TopicPartition(topic(pipeline), 0)], timeout=10)
    reader.close()
    assert committed.offset == 7


def test_data_loss_by_retention_stops_the_consumer_until_it_is_accepted(pipeline: Pipeline) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in range(1, 11)])
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    for answer in admin.delete_records([TopicPartition(topic(pipeline), 0, 4)]).values():
        answer.result(10)
    consumer = pipeline.consume("actions")
    assert consumer.exit_code() == 3
    assert "data loss" in consumer.log.read_text()
    command = ("crmbot-consumer", "accept-loss", "--stream", "actions", "--partition", "0")
    assert "from 0 to 3 are lost" in pipeline.check_output(*command)
    again = pipeline.run(*command)
    assert again.returncode == 2
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 3
    assert "follows row 4 of source" in stopped.log.read_text()
    gap = ("--source-id", SOURCE, "--after-id", "0", "--up-to-id")
    assert pipeline.run(*command, *gap, "0").returncode == 2
    pipeline.check_output(*command, *gap, "3")
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 3
    assert "--up-to-id 4" in stopped.log.read_text()
    pipeline.check_output(*command, *gap, "4")
    assert "accepted before" in pipeline.run(*command, *gap, "4").stderr
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [5, 6, 7, 8, 9, 10], "the remaining rows are loaded")
    # The lost rows arrive later.
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in (1, 2, 3, 4)])
    wait_until(lambda: sorted(loaded_ids(pipeline)) == list(range(1, 11)), "the gap is filled")
    assert pipeline.query(
        "SELECT gaps::text FROM crm_bot_ledger WHERE topic = %s ORDER BY start_offset DESC LIMIT 1",
        topic(pipeline),
    ) == [("{}",)]


def test_an_operator_rejects_a_foreign_source(pipeline: Pipeline) -> None:
    foreign_source = "7d1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a22"
    foreign = action(pipeline.mrf, 9, source_id=foreign_source, previous_id=8, event_id=str(UUID(int=2**64)))
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1), foreign, action(pipeline.mrf, 2)])
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 3
    command = ("crmbot-consumer", "reject-source", "--stream", "actions", "--source-id", foreign_source)
    assert " ".join(command) in stopped.log.read_text()
    pipeline.check_output(*command)
    assert pipeline.run(*command).returncode == 2
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2], "the bot's rows are loaded")
    assert len(rejects(pipeline)) == 1
    refused = pipeline.run(*command[:-1], SOURCE)
    assert (refused.returncode, "so it is a bot's" in refused.stderr) == (2, True)


def test_lost_rows_stop_the_consumer_even_if_the_log_was_refilled(pipeline: Pipeline) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in (1, 2, 5, 6)])
    consumer = pipeline.consume("actions")
    assert consumer.exit_code() == 3
    assert "offset 2 follows row 4 of source" in consumer.log.read_text()
    assert loaded_ids(pipeline) == []


def test_retention_that_deletes_only_transaction_markers_is_no_loss(pipeline: Pipeline) -> None:
    pipeline.backfill(300)
    pipeline.produce("actions")
    consumer = pipeline.consume("actions", STUCK_MINUTES="0.5")
    pipeline.wait_for_all("actions")
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    partitions = [TopicPartition(topic(pipeline), number) for number in range(3)]
    ends = sum(offsets(admin, partitions, LATEST).values())
    newest = "SELECT max(end_offset) FROM crm_bot_ledger WHERE topic = %s GROUP BY kafka_partition"
    wait_until(
        lambda: sum(end for (end,) in pipeline.query(newest, topic(pipeline))) == ends,
        "the ledger covers the markers",
    )
    assert consumer.terminate() == 0
    everything = [TopicPartition(topic(pipeline), number, OFFSET_END) for number in range(3)]
    for answer in admin.delete_records(everything).values():
        answer.result(10)
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")


def test_the_consumer_waits_for_a_crashed_warehouse(pipeline: Pipeline, postgres: Postgres) -> None:
    consumer = pipeline.consume("actions")
    wait_until(lambda: consumer.logged('"assigned"'), "the consumer is assigned partitions")
    postgres.kill()
    try:
        send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in range(1, 101)])
        wait_until(lambda: consumer.get("/readyz")[0] == 503, "the consumer is not ready")
        assert consumer.get("/healthz")[0] == 200
        assert lag_seconds(consumer) > 0
    finally:
        postgres.start()
    wait_until(lambda: loaded_ids(pipeline) == list(range(1, 101)), "all rows are loaded")
    wait_until(lambda: lag_seconds(consumer) == 0, "the lag is 0")


def test_services_recover_from_a_broker_crash(pipeline: Pipeline, kafka: Kafka) -> None:
    pipeline.backfill(3_000)
    for stream in ("actions", "nature"):
        pipeline.produce(stream)
        pipeline.consume(stream)
    pipeline.wait_for_all("actions")
    kafka.kill()
    pipeline.check_output("crmbot-generator", "load", "--rate", "200", "--seconds", "2")
    kafka.start()
    audit = pipeline.audit(wait=90)
    assert audit["clean"], audit
