"""What the consumer does with messages, rivals and failures of its neighbours."""

import json
from collections.abc import Sequence
from contextlib import closing
from uuid import UUID

import structlog
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from crmbot_consumer.batch import Preparation
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.kafka import Buffer, Subscription
from crmbot_consumer.messages import Messages
from crmbot_consumer.warehouse import Load, Warehouse
from crmbot_core.contracts import ACTIONS
from crmbot_core.kafka import LATEST, offsets
from crmbot_core.ledger import FencedError, Position
from crmbot_core.settings import WarehouseSettings
from devstack import Kafka, Postgres
from tests.integration.messages import SOURCE, action, send
from tests.integration.road import Road, Service, wait_until


def topic(road: Road) -> str:
    return f"crm_bot_actions_{road.mrf}"


def rejects(road: Road) -> list[tuple[int, str, bytes | None]]:
    return road.query(
        "SELECT kafka_offset, reason, message_value FROM crm_bot_rejects WHERE topic = %s ORDER BY 1",
        topic(road),
    )


def loaded_ids(road: Road) -> list[int]:
    return [
        row[0]
        for row in road.query("SELECT transaction_id FROM {actions} ORDER BY kafka_partition, kafka_offset")
    ]


def lag_seconds(consumer: Service) -> float:
    lines = consumer.get("/metrics")[1].splitlines()
    return float(next(line for line in lines if line.startswith("crmbot_consumer_lag_seconds")).split()[1])


def test_bad_messages_land_byte_for_byte_in_the_rejects_and_block_nothing(road: Road) -> None:
    bad: list[bytes | None] = [
        None,
        b"",
        b"\xff\xfe not utf-8",
        b'{"schema_version": 1',
        json.dumps(action(road.mrf, 50, schema_version=2)).encode(),
        json.dumps(action(road.mrf, 51, surprise="yes")).encode(),
        json.dumps(action("mrf99", 52)).encode(),
        json.dumps(action(road.mrf, 53, lead_id="another")).encode(),
        json.dumps(action(road.mrf, 54, occurred_at="2026-02-30T00:00:00.000Z")).encode(),
        b'{"\\u0000": 1}',
    ]
    good = [action(road.mrf, number) for number in range(1, 11)]
    send(road.bootstrap, topic(road), [*good[:5], *bad, *good[5:]])
    road.consume("actions")
    wait_until(lambda: len(loaded_ids(road)) == len(good), "the good rows")
    assert loaded_ids(road) == list(range(1, 11))
    found = rejects(road)
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


def test_text_that_copy_would_misread_arrives_as_it_is(road: Road) -> None:
    odd = ["a\tb", "a\nb\r\n", "back\\slash\\n", "\\N", "\\.", "None", '"quoted"', "ООО «Ромашка»", "🙂"]
    send(
        road.bootstrap,
        topic(road),
        [action(road.mrf, n, client_name=name) for n, name in enumerate(odd, start=1)],
    )
    road.consume("actions")
    wait_until(lambda: len(loaded_ids(road)) == len(odd), "all rows")
    assert [row[0] for row in road.query("SELECT client_name FROM {actions} ORDER BY transaction_id")] == odd


def test_copies_are_dropped_and_strangers_are_rejected(road: Road) -> None:
    first = [
        action(road.mrf, id_, previous_id=previous) for id_, previous in ((1, 0), (2, 1), (3, 2), (6, 3))
    ]
    send(road.bootstrap, topic(road), first)
    consumer = road.consume("actions")
    wait_until(lambda: len(loaded_ids(road)) == 4, "the first rows")
    # Repeated in a later batch, repeated within a batch, and one that was passed over.
    late = [action(road.mrf, id_) for id_ in (7, 7, 5, 8)]
    send(road.bootstrap, topic(road), [*first, *late])
    wait_until(lambda: loaded_ids(road) == [1, 2, 3, 6, 7, 8], "the next links")
    ((_, reason, _),) = rejects(road)
    assert "transaction_id 5" in reason
    assert "does not have this row" in reason
    assert road.query("SELECT sum(rows_duplicate) FROM crm_bot_ledger WHERE topic = %s", topic(road)) == [
        (5,)
    ]
    labels = f'{{mrf="{road.mrf}",stream="actions"}}'
    wait_until(
        lambda: f"crmbot_consumer_rows_duplicate_total{labels} 5.0" in consumer.get("/metrics")[1],
        "the duplicates are counted",
    )


def test_a_copy_in_another_partition_is_rejected(road: Road) -> None:
    rows = [action(road.mrf, number) for number in (1, 2)]
    send(road.bootstrap, topic(road), rows)
    send(road.bootstrap, topic(road), rows, partition=1)
    road.consume("actions")
    wait_until(lambda: len(rejects(road)) == 2, "the copies are rejected")
    wait_until(lambda: loaded_ids(road) == [1, 2], "the rows")


def test_another_row_of_a_known_number_is_rejected(road: Road) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, 1), action(road.mrf, 2)])
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [1, 2], "the rows")
    send(road.bootstrap, topic(road), [action(road.mrf, 2, city="Тверь"), action(road.mrf, 3)])
    wait_until(lambda: loaded_ids(road) == [1, 2, 3], "the next row")
    assert len(rejects(road)) == 1


def test_one_message_with_a_huge_number_rejects_no_row_of_the_bot(road: Road) -> None:
    forged = action(road.mrf, 2**62, previous_id=5)
    send(road.bootstrap, topic(road), [action(road.mrf, 1), forged, *(action(road.mrf, n) for n in (2, 3))])
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [1, 2, 3], "the rows")
    assert len(rejects(road)) == 1


def test_too_many_bad_messages_in_a_row_stop_the_consumer_and_load_nothing(road: Road) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, number, schema_version=2) for number in range(1, 30)])
    consumer = road.consume("actions", MAX_REJECTS_IN_A_ROW="20")
    assert consumer.exit_code() == 3
    assert "in a row break the contract" in consumer.log.read_text()
    assert rejects(road) == []
    assert road.query("SELECT count(*) FROM crm_bot_ledger WHERE topic = %s", topic(road)) == [(0,)]


def test_a_restart_does_not_start_the_count_of_rejects_anew(road: Road) -> None:
    def send_bad(first: int) -> None:
        bad = [action(road.mrf, number, schema_version=2) for number in range(first, first + 12)]
        send(road.bootstrap, topic(road), bad)

    send_bad(1)
    consumer = road.consume("actions", MAX_REJECTS_IN_A_ROW="20")
    wait_until(lambda: len(rejects(road)) == 12, "the first rejects")
    assert consumer.terminate() == 0
    send_bad(13)
    for _ in range(2):
        stopped = road.consume("actions", MAX_REJECTS_IN_A_ROW="20")
        assert stopped.exit_code() == 3
        assert "20 messages in a row" in stopped.log.read_text()
    assert len(rejects(road)) == 12
    road.consume("actions", MAX_REJECTS_IN_A_ROW="25")
    wait_until(lambda: len(rejects(road)) == 24, "an operator lets all of them through")


def test_too_large_a_share_of_bad_messages_stops_the_consumer_also_after_a_restart(road: Road) -> None:
    def send_mixed(first: int, messages: int) -> None:
        mixed = [
            action(road.mrf, number, schema_version=2 if number % 10 < 4 else 1)
            for number in range(first, first + messages)
        ]
        send(road.bootstrap, topic(road), mixed)

    send_mixed(1, 900)
    consumer = road.consume("actions", MAX_REJECTS_SHARE="0.3")
    wait_until(lambda: len(rejects(road)) == 360, "fewer than 1,000 messages have no share yet")
    assert consumer.terminate() == 0
    send_mixed(901, 200)
    for _ in range(2):
        stopped = road.consume("actions", MAX_REJECTS_SHARE="0.3")
        assert stopped.exit_code() == 3
        assert "of the last 1" in stopped.log.read_text()
    road.consume("actions", MAX_REJECTS_SHARE="0.4")
    wait_until(lambda: len(rejects(road)) == 440, "an operator lets all of them through")
    assert len(loaded_ids(road)) == 660


def test_of_two_loads_of_a_range_the_second_is_refused_whole(road: Road) -> None:
    settings = WarehouseSettings(warehouse_dsn=road.dsn)
    values = [json.dumps(action(road.mrf, number)).encode() for number in (1, 2, 3)]
    messages = Messages([0, 1, 2], [b"L1"] * 3, list(values))
    batch = Preparation(ACTIONS, road.mrf)(0, Position("id", 0), messages)
    load = Load([batch], [copy_text(batch.rows, batch.offsets)])
    rivals = [Warehouse(settings, ACTIONS, road.mrf, copy_columns(ACTIONS), 30) for _ in range(2)]
    outcomes = []
    for rival in rivals:
        try:
            rival.load(load)
            outcomes.append("loaded")
        except FencedError:
            outcomes.append("fenced")
        rival.close()
    assert outcomes == ["loaded", "fenced"]
    assert loaded_ids(road) == [1, 2, 3]


class Rival:
    """A member of the group that loads nothing."""

    def __init__(self, road: Road) -> None:
        self.read_to: dict[int, int] = {}  # when a partition was assigned last
        settings = {"bootstrap.servers": road.bootstrap}
        logger = structlog.get_logger()
        self.subscription = Subscription(settings, topic(road), self, logger, poll_seconds=300)

    def take(self, partitions: Sequence[int]) -> dict[int, Position]:
        return {}

    def placed(self, positions: dict[int, Position]) -> None:
        self.read_to |= {partition: self.subscription.read_to(partition) for partition in positions}

    def give_up(self, partitions: Sequence[int]) -> None:
        """There is nothing to bring to an end."""

    def ends(self) -> list[int]:
        return [self.subscription.read_to(partition) for partition in range(3)]

    def has(self, partitions: int) -> bool:
        self.subscription.poll(Buffer(), 100, 0.1)
        return len(self.subscription.assigned) == partitions


def test_a_partition_that_comes_back_has_not_been_read(road: Road) -> None:
    for partition in range(3):
        rows = [action(road.mrf, number, kafka_partition=partition) for number in range(1, 6)]
        send(road.bootstrap, topic(road), rows, partition=partition)
    first = Rival(road)
    with closing(first.subscription):
        wait_until(lambda: first.has(3), "all partitions")
        wait_until(lambda: first.has(3) and first.ends() == [5, 5, 5], "all messages were read")
        first.read_to.clear()
        second = Rival(road)
        with closing(second.subscription):
            wait_until(lambda: not first.has(3) and second.has(1), "one of the partitions has gone")
        wait_until(lambda: first.has(3), "it has come back")
    assert list(first.read_to.values()) == [0]


def test_offsets_are_mirrored_to_kafka_after_the_load(road: Road) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in range(1, 8)])
    consumer = road.consume("actions")
    wait_until(lambda: len(loaded_ids(road)) == 7, "all rows")
    assert consumer.terminate() == 0
    reader = Consumer({"bootstrap.servers": road.bootstrap, "group.id": f"crmbot-consumer-{topic(road)}"})
    (committed,) = reader.committed([TopicPartition(topic(road), 0)], timeout=10)
    reader.close()
    assert committed.offset == 7


def test_what_retention_deleted_stops_the_consumer_until_the_loss_is_accepted(road: Road) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in range(1, 11)])
    admin = AdminClient({"bootstrap.servers": road.bootstrap})
    for answer in admin.delete_records([TopicPartition(topic(road), 0, 4)]).values():
        answer.result(10)
    consumer = road.consume("actions")
    assert consumer.exit_code() == 3
    assert "data loss" in consumer.log.read_text()
    command = ("crmbot-consumer", "accept-loss", "--stream", "actions", "--partition", "0")
    assert "from 0 to 3 are lost" in road.must(*command)
    again = road.run(*command)
    assert again.returncode == 2
    stopped = road.consume("actions")
    assert stopped.exit_code() == 3
    assert "follows row 4 of source" in stopped.log.read_text()
    gap = ("--source-id", SOURCE, "--after-id", "0", "--up-to-id")
    assert road.run(*command, *gap, "0").returncode == 2
    road.must(*command, *gap, "3")
    stopped = road.consume("actions")
    assert stopped.exit_code() == 3
    assert "--up-to-id 4" in stopped.log.read_text()
    road.must(*command, *gap, "4")
    assert "accepted before" in road.run(*command, *gap, "4").stderr
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [5, 6, 7, 8, 9, 10], "the rows that are left")
    # They turn up after all.
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in (1, 2, 3, 4)])
    wait_until(lambda: sorted(loaded_ids(road)) == list(range(1, 11)), "the gap is filled")
    assert road.query(
        "SELECT gaps::text FROM crm_bot_ledger WHERE topic = %s ORDER BY start_offset DESC LIMIT 1",
        topic(road),
    ) == [("{}",)]


def test_a_stranger_s_source_is_rejected_by_an_operator_s_word(road: Road) -> None:
    stranger = "7d1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a22"
    strange = action(road.mrf, 9, source_id=stranger, previous_id=8, event_id=str(UUID(int=2**64)))
    send(road.bootstrap, topic(road), [action(road.mrf, 1), strange, action(road.mrf, 2)])
    stopped = road.consume("actions")
    assert stopped.exit_code() == 3
    command = ("crmbot-consumer", "reject-source", "--stream", "actions", "--source-id", stranger)
    assert " ".join(command) in stopped.log.read_text()
    road.must(*command)
    assert road.run(*command).returncode == 2
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [1, 2], "the bot's rows")
    assert len(rejects(road)) == 1
    refused = road.run(*command[:-1], SOURCE)
    assert (refused.returncode, "so it is a bot's" in refused.stderr) == (2, True)


def test_rows_that_kafka_lost_stop_the_consumer_though_the_log_was_filled_again(road: Road) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in (1, 2, 5, 6)])
    consumer = road.consume("actions")
    assert consumer.exit_code() == 3
    assert "offset 2 follows row 4 of source" in consumer.log.read_text()
    assert loaded_ids(road) == []


def test_retention_that_deletes_nothing_but_markers_is_no_loss(road: Road) -> None:
    road.backfill(300)
    road.produce("actions")
    consumer = road.consume("actions", STUCK_MINUTES="0.5")
    road.wait_for_all("actions")
    admin = AdminClient({"bootstrap.servers": road.bootstrap})
    partitions = [TopicPartition(topic(road), number) for number in range(3)]
    ends = sum(offsets(admin, partitions, LATEST).values())
    newest = "SELECT max(end_offset) FROM crm_bot_ledger WHERE topic = %s GROUP BY kafka_partition"
    wait_until(
        lambda: sum(end for (end,) in road.query(newest, topic(road))) == ends,
        "the ledger covers the markers",
    )
    assert consumer.terminate() == 0
    everything = [TopicPartition(topic(road), number, OFFSET_END) for number in range(3)]
    for answer in admin.delete_records(everything).values():
        answer.result(10)
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "1")
    road.consume("actions")
    road.wait_for_all("actions")


def test_a_warehouse_that_crashes_is_waited_for(road: Road, postgres: Postgres) -> None:
    consumer = road.consume("actions")
    wait_until(lambda: consumer.logged('"assigned"'), "the consumer has its partitions")
    postgres.kill()
    try:
        send(road.bootstrap, topic(road), [action(road.mrf, number) for number in range(1, 101)])
        wait_until(lambda: consumer.get("/readyz")[0] == 503, "the consumer is not ready")
        assert consumer.get("/healthz")[0] == 200
        assert lag_seconds(consumer) > 0
    finally:
        postgres.start()
    wait_until(lambda: loaded_ids(road) == list(range(1, 101)), "all rows")
    wait_until(lambda: lag_seconds(consumer) == 0, "nothing waits")


def test_a_broker_that_crashes_is_waited_for(road: Road, kafka: Kafka) -> None:
    road.backfill(3_000)
    for stream in ("actions", "nature"):
        road.produce(stream)
        road.consume(stream)
    road.wait_for_all("actions")
    kafka.kill()
    road.must("crmbot-generator", "live", "--rate", "200", "--seconds", "2")
    kafka.start()
    assert road.audit(wait=90)["clean"]
