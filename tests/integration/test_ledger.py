"""Loads that the ledger refuses, and losses in Kafka or the warehouse that stop the consumer."""

import json
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from psycopg import sql
from psycopg.conninfo import make_conninfo

from crmbot_consumer.batch import Preparation
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.messages import Messages, PartitionBatch
from crmbot_consumer.warehouse import Load, Warehouse
from crmbot_core import ledger
from crmbot_core.contracts import ACTIONS
from crmbot_core.ledger import FencedError, Position
from crmbot_core.settings import WarehouseSettings
from devstack import Postgres
from tests.integration.messages import action, send
from tests.integration.pipeline import Pipeline, wait_until
from tests.integration.test_consumer import loaded_ids, rejects, topic

ADOPT = ("crmbot-consumer", "adopt-topic", "--stream", "actions")


def batch_of(pipeline: Pipeline, start: Position, ids: list[int]) -> PartitionBatch:
    values: list[bytes | None] = [json.dumps(action(pipeline.mrf, number)).encode() for number in ids]
    offsets = [start.next_offset + n for n in range(len(ids))]
    return Preparation(ACTIONS, pipeline.mrf)(0, start, Messages(offsets, [b"L1"] * len(ids), values))


def test_a_batch_whose_predecessor_was_lost_is_refused(pipeline: Pipeline) -> None:
    """A failover behind a pooler can lose commits of a session that survives."""
    warehouse = Warehouse(
        WarehouseSettings(warehouse_dsn=pipeline.dsn), ACTIONS, pipeline.mrf, copy_columns(ACTIONS), 30
    )
    first = batch_of(pipeline, Position("id", 0), [1, 2])
    lost = batch_of(pipeline, first.end, [3, 4])
    third = batch_of(pipeline, lost.end, [5, 6])
    warehouse.load(Load([first], [copy_text(first.rows, first.offsets)]))
    with pytest.raises(FencedError, match="does not end where this batch begins"):
        warehouse.load(Load([third], [copy_text(third.rows, third.offsets)]))
    for batch in (lost, third):
        warehouse.load(Load([batch], [copy_text(batch.rows, batch.offsets)]))
    warehouse.close()
    assert loaded_ids(pipeline) == [1, 2, 3, 4, 5, 6]


def test_a_ledger_that_lost_its_newest_row_stops_the_consumer(pipeline: Pipeline) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in (1, 2, 3)])
    consumer = pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2, 3], "the rows are loaded")
    assert consumer.terminate() == 0
    pipeline.query("DELETE FROM crm_bot_ledger WHERE topic = %s", topic(pipeline))
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 3
    assert "the ledger has lost rows" in stopped.log.read_text()
    assert loaded_ids(pipeline) == [1, 2, 3]


def test_a_table_that_lost_its_newest_rows_stops_the_consumer(pipeline: Pipeline) -> None:
    bad = json.dumps(action(pipeline.mrf, 4, potential_revenue="1")).encode()
    send(pipeline.bootstrap, topic(pipeline), [*(action(pipeline.mrf, number) for number in (1, 2, 3)), bad])
    consumer = pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2, 3], "the rows are loaded")
    assert consumer.terminate() == 0
    again = pipeline.consume("actions")
    wait_until(lambda: again.logged('"assigned"'), "a dead letter may be the end of the chain")
    assert again.terminate() == 0
    pipeline.query("DELETE FROM crm_bot_rejects WHERE topic = %s", topic(pipeline))
    pipeline.query("DELETE FROM {actions} WHERE transaction_id > 1")
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 3
    assert f"{topic(pipeline)} has lost rows: the newest row of source" in stopped.log.read_text()


def test_a_recreated_topic_is_adopted_and_its_chains_continue(pipeline: Pipeline) -> None:
    bad = json.dumps(action(pipeline.mrf, 2, potential_revenue="1")).encode()
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1), bad, action(pipeline.mrf, 3)])
    consumer = pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 3], "the first rows are loaded")
    assert consumer.terminate() == 0
    nothing = pipeline.run(*ADOPT)
    assert (nothing.returncode, "nothing to adopt" in nothing.stderr) == (2, True)
    pipeline.recreate(topic(pipeline))
    # A row that is loaded, a dead letter at the offset of an old one, and a new row.
    worse = json.dumps(action(pipeline.mrf, 4, potential_revenue="1")).encode()
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 3), worse, action(pipeline.mrf, 5)])
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 3
    assert "crmbot-consumer adopt-topic --stream actions" in stopped.log.read_text()
    assert "partition 0 resumes at offset 0" in pipeline.check_output(*ADOPT)
    pipeline.order_resend(topic(pipeline))
    pipeline.consume("actions")
    wait_until(lambda: sorted(loaded_ids(pipeline)) == [1, 3, 5], "the new rows are loaded")
    assert [value for _, _, value in rejects(pipeline)] == [bad, worse]
    assert pipeline.run(*ADOPT).returncode == 2
    show = ("crmbot-consumer", "rejects", "show", "--stream", "actions", "0", "1")
    assert pipeline.check_output(*show).encode() == worse
    assert pipeline.check_output(*show, "--epoch", "0").encode() == bad
    assert "of epoch 2 of" in pipeline.run(*show, "--epoch", "2").stderr


def test_a_consumer_of_the_old_log_cannot_load_after_the_adoption(pipeline: Pipeline) -> None:
    warehouse = Warehouse(
        WarehouseSettings(warehouse_dsn=pipeline.dsn), ACTIONS, pipeline.mrf, copy_columns(ACTIONS), 30
    )
    first = batch_of(pipeline, Position("id", 0), [1, 2])
    warehouse.load(Load([first], [copy_text(first.rows, first.offsets)]))
    held = batch_of(pipeline, first.end, [3])
    assert "partition 0 resumes at offset 0" in pipeline.check_output(*ADOPT)
    with pytest.raises(FencedError):
        warehouse.load(Load([held], [copy_text(held.rows, held.offsets)]))
    warehouse.close()


def test_a_log_that_lost_its_newest_messages_is_adopted(pipeline: Pipeline) -> None:
    """The ledger is ahead of the log's end, as after a restore of the broker's disk from an older copy."""
    warehouse = Warehouse(
        WarehouseSettings(warehouse_dsn=pipeline.dsn), ACTIONS, pipeline.mrf, copy_columns(ACTIONS), 30
    )
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in (1, 2)])
    consumer = pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2], "the first rows are loaded")
    assert consumer.terminate() == 0
    start = warehouse.positions([0])[0]
    lost = batch_of(pipeline, start, [3, 4])
    warehouse.load(Load([lost], [copy_text(lost.rows, lost.offsets)]))
    warehouse.close()
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 3
    assert "it lost its newest messages" in stopped.log.read_text()
    assert "partition 0 resumes at offset 2" in pipeline.check_output(*ADOPT)
    pipeline.order_resend(topic(pipeline))
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in (3, 4, 5)])
    pipeline.consume("actions")
    wait_until(lambda: sorted(loaded_ids(pipeline)) == [1, 2, 3, 4, 5], "the new row is loaded")
    assert rejects(pipeline) == []


def test_a_row_that_the_table_refuses_becomes_a_dead_letter_and_blocks_nothing(pipeline: Pipeline) -> None:
    pipeline.query("ALTER TABLE {actions} ADD CONSTRAINT short CHECK (length(city) < 20)")
    rows = [action(pipeline.mrf, number, city="Москва" * (5 if number == 3 else 1)) for number in range(1, 7)]
    send(pipeline.bootstrap, topic(pipeline), rows)
    consumer = pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2, 4, 5, 6], "the other rows are loaded")
    ((offset, reason, _),) = rejects(pipeline)
    assert (offset, "SQLSTATE 23514" in reason) == (2, True)
    assert consumer.terminate() == 0
    pipeline.query("ALTER TABLE {actions} DROP CONSTRAINT short")
    pipeline.check_output("crmbot-consumer", "rejects", "replay", "--stream", "actions", "0", "2")
    assert sorted(loaded_ids(pipeline)) == [1, 2, 3, 4, 5, 6]


def test_a_table_that_refuses_every_row_stops_the_consumer(pipeline: Pipeline) -> None:
    pipeline.query("ALTER TABLE {actions} ADD CONSTRAINT none CHECK (city = '')")
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in range(1, 30)])
    consumer = pipeline.consume("actions", MAX_REJECTS_IN_A_ROW="20")
    assert consumer.exit_code() == 3
    assert "the warehouse refuses the data (23514)" in consumer.log.read_text()
    assert rejects(pipeline) == []


def test_a_topic_with_settings_that_lose_rows_stops_the_consumer_until_they_are_corrected(
    pipeline: Pipeline,
) -> None:
    resource = ConfigResource(
        ResourceType.TOPIC,
        topic(pipeline),
        incremental_configs=[
            ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    admin.incremental_alter_configs([resource])[resource].result(10)
    stopped = pipeline.consume("actions")
    assert stopped.exit_code() == 2
    assert "cleanup.policy is compact, not delete" in stopped.log.read_text()
    pipeline.check_output("crmbot-producer", "topics")
    consumer = pipeline.consume("actions")
    wait_until(lambda: consumer.logged('"assigned"'), "the consumer is assigned partitions")


def test_a_warehouse_whose_encoding_is_not_utf8_is_refused(pipeline: Pipeline, postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        name = sql.Identifier(f"win_{pipeline.mrf}")
        connection.execute(
            sql.SQL(
                "CREATE DATABASE {} ENCODING 'WIN1251' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
            ).format(name)
        )
    dsn = make_conninfo(postgres.dsn, dbname=f"win_{pipeline.mrf}")
    stopped = pipeline.consume("actions", WAREHOUSE_DSN=dsn)
    assert stopped.exit_code() == 2
    assert "encoding is WIN1251" in stopped.log.read_text()


def test_memory_is_bounded_by_the_bytes_of_a_batch(pipeline: Pipeline) -> None:
    for _ in range(12):
        send(pipeline.bootstrap, topic(pipeline), [b"x" * 900_000] * 25)
    consumer = pipeline.consume("actions", BATCH_SECONDS="30", BATCH_ROWS="20000", MAX_REJECTS_IN_A_ROW="500")
    wait_until(lambda: len(rejects(pipeline)) == 300, "all messages are rejected", 120)
    status = Path(f"/proc/{consumer.process.pid}/status").read_text(encoding="ascii").splitlines()
    (peak,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 350 * 1024


def test_the_session_of_a_vanished_consumer_is_terminated(pipeline: Pipeline) -> None:
    """After the loss of a node, the server keeps the sessions of its clients open."""
    names = (f"consumer {topic(pipeline)} node-1", f"consumer {topic(pipeline)}0 node-1")
    vanished, unrelated = (psycopg.connect(pipeline.dsn, application_name=name) for name in names)
    unrelated.execute("SELECT 1")
    ledger.insert(vanished, topic(pipeline), [batch_of(pipeline, Position("id", 0), [1, 2, 3]).entry])
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in (1, 2, 3)])
    consumer = pipeline.consume("actions", LOCK_SECONDS="2")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2, 3], "the rows are loaded")
    assert consumer.logged("another session has held a lock for too long")
    assert consumer.logged("abandoned sessions ended")
    with pytest.raises(psycopg.OperationalError):
        vanished.execute("SELECT 1")
    assert unrelated.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "message",
    [
        "statement requires more resources than resource queue allows",
        "insufficient memory reserved for statement",
    ],
)
def test_a_resource_limit_that_no_retry_can_satisfy_stops_the_consumer(
    pipeline: Pipeline, message: str
) -> None:
    pipeline.query(
        "CREATE FUNCTION refuse_{actions}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '53000'; END $$"
    )
    pipeline.query("CREATE TRIGGER refuse BEFORE INSERT ON {actions} EXECUTE FUNCTION refuse_{actions}()")
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1)])
    consumer = pipeline.consume("actions")
    assert consumer.exit_code() == 2
    assert f"{message}; give the role a resource queue" in consumer.log.read_text()
