"""`maintain` folds the ledger without changing the result of any query."""

import itertools
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import make_conninfo

from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.messages import PartitionBatch
from crmbot_consumer.poison import WINDOW
from crmbot_consumer.warehouse import Load, Warehouse
from crmbot_core import ledger
from crmbot_core.contracts import ACTIONS
from crmbot_core.kafka import topic_id
from crmbot_core.ledger import FencedError, Position
from crmbot_core.settings import WarehouseSettings
from devstack import Kafka, Postgres
from tests.integration.messages import SOURCE, action, send
from tests.integration.pipeline import Pipeline, wait_until
from tests.integration.test_consumer import loaded_ids, topic
from tests.integration.test_ledger import ADOPT, batch_of

MAINTAIN = ("crmbot-consumer", "maintain")
WAREHOUSE_ONLY = ("crmbot-producer", "audit", "--warehouse-only", "--json")
OLD = WINDOW + 200  # batches: the newest WINDOW are kept, the others folded
_NUMBERS = itertools.count(600)


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    """A separate database: some tests create a trigger on the ledger."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE maintained")
    return make_conninfo(postgres.dsn, dbname="maintained")


@pytest.fixture
def pipeline(kafka: Kafka, dsn: str, tmp_path: Path) -> Iterator[Pipeline]:
    pipeline = Pipeline(f"mrf{next(_NUMBERS)}", tmp_path, kafka.bootstrap_servers, dsn).set_up()
    try:
        yield pipeline
    finally:
        pipeline.close()


@pytest.fixture
def warehouse(pipeline: Pipeline) -> Iterator[Warehouse]:
    settings = WarehouseSettings(warehouse_dsn=pipeline.dsn)
    with closing(Warehouse(settings, ACTIONS, pipeline.mrf, copy_columns(ACTIONS), 30)) as warehouse:
        yield warehouse


@pytest.fixture
def batches(pipeline: Pipeline, warehouse: Warehouse) -> list[PartitionBatch]:
    """Old batches of one row each, loaded from partition 0."""
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in range(1, OLD + 1)])
    identity = topic_id(AdminClient({"bootstrap.servers": pipeline.bootstrap}), topic(pipeline))
    loaded = [batch_of(pipeline, Position(identity, 0), [1])]
    loaded += (
        batch_of(pipeline, Position(identity, number - 1, {SOURCE: number - 1}), [number])
        for number in range(2, OLD + 1)
    )
    warehouse.load(Load(loaded, [copy_text(batch.rows, batch.offsets) for batch in loaded]))
    age(pipeline)
    return loaded


def load(warehouse: Warehouse, batch: PartitionBatch) -> None:
    warehouse.load(Load([batch], [copy_text(batch.rows, batch.offsets)]))


def age(pipeline: Pipeline) -> None:
    """Make everything loaded a month older."""
    for table in ("crm_bot_ledger", "{actions}", "{nature}"):
        pipeline.query(f"UPDATE {table} SET loaded_at = loaded_at - interval '30 days'")


def batch_rows(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return pipeline.query(
        "SELECT kafka_partition, log_epoch, start_offset, end_offset, topic_id, rows_loaded, rows_rejected, "
        "rows_duplicate, rows_superseded, last_ids::text, gaps::text, loaded_at "
        "FROM crm_bot_ledger WHERE topic = %s ORDER BY 1, 2, 3",
        topic(pipeline),
    )


def breaks(pipeline: Pipeline) -> int:
    with psycopg.connect(pipeline.dsn) as connection:
        return len(ledger.breaks(connection, topic(pipeline)))


def without_duration(output: str) -> list[str]:
    """Return an audit's result without its duration."""
    return [part for part in output.split(", ") if not part.startswith('"seconds"')]


@contextmanager
def paused_folds(pipeline: Pipeline) -> Iterator[Callable[[], None]]:
    """Pause each fold when it deletes batches; yield a function that resumes them."""
    with psycopg.connect(pipeline.dsn, autocommit=True) as gate:
        gate.execute("SELECT pg_advisory_lock(11)")
        gate.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(11); RETURN NULL; END $$"
        )
        gate.execute("CREATE TRIGGER hold AFTER DELETE ON crm_bot_ledger EXECUTE FUNCTION hold()")

        def resume() -> None:
            gate.execute("SELECT pg_advisory_unlock(11)")

        try:
            yield resume
        finally:
            gate.execute("SELECT pg_advisory_unlock_all()")
            gate.execute("DROP FUNCTION hold() CASCADE")


def waits_for_a_lock(pipeline: Pipeline, name: str) -> bool:
    """Return whether a session of that name waits for a lock."""
    query = (
        "SELECT 1 FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE %s AND wait_event_type = 'Lock'"
    )
    return bool(pipeline.query(query, f"{name} %"))


def test_a_fold_changes_no_query_result(pipeline: Pipeline) -> None:
    pipeline.backfill(5_000)
    pipeline.send_all()
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1, surprise="yes")] * 3)
    consumer = pipeline.consume("actions", BATCH_ROWS="1")
    pipeline.wait_for_all("actions", 120)
    pipeline.consume("nature")
    pipeline.produce("nature")
    pipeline.wait_for_all("nature")
    assert consumer.terminate() == 0
    age(pipeline)
    queries: list[Callable[[], object]] = [
        lambda: without_duration(pipeline.check_output("crmbot-producer", "audit", "--json")),
        lambda: without_duration(pipeline.check_output(*WAREHOUSE_ONLY)),
        lambda: without_duration(
            pipeline.check_output("crmbot-consumer", "rejects", "list", "--stream", "actions")
        ),
        lambda: positions(pipeline),
        lambda: newest_batches(pipeline),
        lambda: offsets_mart(pipeline),
        lambda: pipeline.query(
            "SELECT kafka_partition, min(start_offset), sum(rows_loaded), sum(rows_rejected), "
            "sum(rows_duplicate) FROM crm_bot_ledger WHERE topic = %s GROUP BY 1 ORDER BY 1",
            topic(pipeline),
        ),
    ]
    before = [query() for query in queries]
    rows = len(batch_rows(pipeline))
    assert rows > 3 * (WINDOW + 1)
    assert (
        f"{topic(pipeline)}: {3 * (WINDOW + 1)} batches in the ledger, {rows} before"
        in pipeline.check_output(*MAINTAIN)
    )
    assert [query() for query in queries] == before
    assert (
        f"{topic(pipeline)}: {3 * (WINDOW + 1)} batches in the ledger, {3 * (WINDOW + 1)} before"
        in pipeline.check_output(*MAINTAIN)
    )
    # The pipeline continues, and recovery works.
    pipeline.check_output("crmbot-producer", "resend", "--stream", "actions")
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    pipeline.produce("actions")
    pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    assert pipeline.audit()["clean"]


def positions(pipeline: Pipeline) -> dict[int, Position]:
    with psycopg.connect(pipeline.dsn) as connection:
        return ledger.positions(connection, topic(pipeline), range(3))


def newest_batches(pipeline: Pipeline) -> list[list[tuple[int, int]]]:
    with psycopg.connect(pipeline.dsn) as connection:
        return [list(ledger.newest_batches(connection, topic(pipeline), n, WINDOW)) for n in range(3)]


def offsets_mart(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    pipeline.check_output("crmbot-exporter", "export", STREAM="actions", OUTPUT_DIR=str(pipeline.folder))
    return pipeline.query(f"SELECT * FROM crm_bot_mart_offsets_{pipeline.mrf} ORDER BY 1, 2")


def test_a_running_consumer_is_not_disturbed(pipeline: Pipeline, batches: list[PartitionBatch]) -> None:
    consumer = pipeline.consume("actions", BATCH_SECONDS="0.01", BATCH_ROWS="1")
    wait_until(lambda: consumer.logged('"assigned"'), "the consumer is assigned partitions")
    newer = range(OLD + 1, OLD + 501)
    with ThreadPoolExecutor() as threads:
        sent = threads.submit(
            send, pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in newer]
        )
        while not sent.done() or len(loaded_ids(pipeline)) < OLD + 100:
            pipeline.check_output(*MAINTAIN)
            age(pipeline)  # so that the next run folds what this consumer has loaded
    wait_until(lambda: loaded_ids(pipeline) == [*range(1, OLD + 501)], "each row is loaded once, in order")
    assert consumer.terminate() == 0
    assert not [event for event in consumer.events if event["level"] in ("warning", "error")]
    assert breaks(pipeline) == 0
    assert len(batch_rows(pipeline)) < OLD + 500


def test_a_batch_that_was_folded_cannot_be_loaded_again(
    pipeline: Pipeline, warehouse: Warehouse, batches: list[PartitionBatch]
) -> None:
    """A consumer resumes that was believed dead for a month."""
    pipeline.check_output(*MAINTAIN)
    assert len(batch_rows(pipeline)) == WINDOW + 1
    for batch in (batches[0], batches[1], batches[100], batches[199], batches[200], batches[-1]):
        with pytest.raises(FencedError):
            load(warehouse, batch)
    assert len(loaded_ids(pipeline)) == OLD
    load(warehouse, batch_of(pipeline, batches[-1].end, [OLD + 1]))


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_batch_cannot_be_loaded_again_while_it_is_folded(
    pipeline: Pipeline, warehouse: Warehouse, batches: list[PartitionBatch], isolation: str
) -> None:
    warehouse.close()
    pipeline.query(f"ALTER ROLE postgres SET default_transaction_isolation = '{isolation}'")
    with paused_folds(pipeline) as resume, ThreadPoolExecutor() as threads:
        maintained = threads.submit(pipeline.run, *MAINTAIN)
        wait_until(lambda: waits_for_a_lock(pipeline, f"maintain {pipeline.mrf}"), "the fold is paused")
        zombie = threads.submit(load, warehouse, batches[100])
        wait_until(
            lambda: waits_for_a_lock(pipeline, f"consumer {topic(pipeline)}"), "the zombie waits for the fold"
        )
        resume()
        with pytest.raises(FencedError):
            zombie.result()
        assert maintained.result().returncode == 0
    pipeline.query("ALTER ROLE postgres RESET default_transaction_isolation")
    assert loaded_ids(pipeline) == [*range(1, OLD + 1)]
    assert len(batch_rows(pipeline)) == WINDOW + 1


def test_messages_of_folded_batches_are_dropped_when_they_arrive_again(
    pipeline: Pipeline, batches: list[PartitionBatch]
) -> None:
    pipeline.check_output(*MAINTAIN)
    send(
        pipeline.bootstrap,
        topic(pipeline),
        [action(pipeline.mrf, number) for number in (1, 50, OLD, OLD + 1)],
    )
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [*range(1, OLD + 2)], "only the new row is loaded")
    assert sum(row[7] for row in batch_rows(pipeline)) == 3
    assert pipeline.query("SELECT count(*) FROM crm_bot_rejects WHERE topic = %s", topic(pipeline)) == [(0,)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "vanished"])
def test_a_fold_whose_client_is_gone_blocks_nobody(
    pipeline: Pipeline, warehouse: Warehouse, batches: list[PartitionBatch], how: signal.Signals
) -> None:
    before = batch_rows(pipeline)
    with paused_folds(pipeline) as resume:
        client = pipeline.start(*MAINTAIN)
        wait_until(lambda: waits_for_a_lock(pipeline, f"maintain {pipeline.mrf}"), "the fold is paused")
        client.process.send_signal(how)
        assert batch_rows(pipeline) == before
        resume()
        load(warehouse, batch_of(pipeline, batches[-1].end, [OLD + 1]))  # before the server notices
    assert breaks(pipeline) == 0
    client.process.kill()
    pipeline.check_output(*MAINTAIN)
    assert breaks(pipeline) == 0
    assert len(batch_rows(pipeline)) == WINDOW + 1
    assert sum(row[5] for row in batch_rows(pipeline)) == OLD + 1


def test_a_fold_waiting_for_a_load_does_not_block_other_loads(
    pipeline: Pipeline, warehouse: Warehouse, batches: list[PartitionBatch]
) -> None:
    """The load may be slow, or its consumer may have vanished."""
    attempts: set[Any] = set()
    with psycopg.connect(pipeline.dsn) as other, ThreadPoolExecutor() as threads:
        ledger.insert(other, "crm_bot_actions_mrf1", [batch_of(pipeline, Position("id", 0), [1]).entry])
        maintained = threads.submit(pipeline.run, *MAINTAIN)
        number, end = OLD, batches[-1].end
        while len(attempts) < 8:
            number += 1
            batch = batch_of(pipeline, end, [number])
            load(warehouse, batch)
            end = batch.end
            attempts |= set(
                pipeline.query(
                    "SELECT query_start FROM pg_stat_activity "
                    "WHERE application_name LIKE %s AND wait_event_type = 'Lock'",
                    f"maintain {pipeline.mrf} %",
                )
            )
        other.rollback()
        assert maintained.result().returncode == 0
    assert loaded_ids(pipeline) == [*range(1, number + 1)]
    assert batch_rows(pipeline)[0][5] >= OLD - WINDOW


def test_concurrent_runs_fold_once(pipeline: Pipeline, batches: list[PartitionBatch]) -> None:
    with paused_folds(pipeline) as resume, ThreadPoolExecutor() as threads:
        running = [threads.submit(pipeline.run, *MAINTAIN) for _ in range(3)]
        wait_until(lambda: waits_for_a_lock(pipeline, f"maintain {pipeline.mrf}"), "one fold is paused")
        resume()
        assert [done.result().returncode for done in running] == [0, 0, 0]
    folded, *newest = batch_rows(pipeline)
    assert (folded[2:4], folded[5], len(newest)) == ((0, 200), 200, WINDOW)
    assert folded[9:11] == (f'{{"{SOURCE}": 200}}', "{}")


def test_a_partition_with_a_break_is_not_folded_and_is_named(
    pipeline: Pipeline, batches: list[PartitionBatch]
) -> None:
    pipeline.query("DELETE FROM crm_bot_ledger WHERE topic = %s AND start_offset = 100", topic(pipeline))
    pipeline.query("DELETE FROM {actions} WHERE transaction_id = 50")
    before, audited = batch_rows(pipeline), pipeline.run(*WAREHOUSE_ONLY)
    assert audited.returncode == 4
    assert "1 breaks in the ledger's chain" in audited.stdout
    refused = pipeline.run(*MAINTAIN)
    assert refused.returncode == 3
    place = f"{topic(pipeline)} partition 0, epoch 0: the batch at offset 101 follows one that ends at 100"
    assert place in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert batch_rows(pipeline) == before
    assert without_duration(pipeline.run(*WAREHOUSE_ONLY).stdout) == without_duration(audited.stdout)
    # The audit reports a row missing in the table after a fold as before it.
    pipeline.query(
        "INSERT INTO crm_bot_ledger "
        "SELECT topic, kafka_partition, log_epoch, 100, 101, topic_id, 1, 0, 0, 0, last_ids, gaps, loaded_at "
        "FROM crm_bot_ledger WHERE topic = %s AND start_offset = 99",
        topic(pipeline),
    )
    audited = pipeline.run(*WAREHOUSE_ONLY)
    pipeline.check_output(*MAINTAIN)
    assert len(batch_rows(pipeline)) == WINDOW + 1
    assert "unlinked" in audited.stdout
    assert without_duration(pipeline.run(*WAREHOUSE_ONLY).stdout) == without_duration(audited.stdout)


def test_ledger_rows_of_an_adoption_are_not_folded(pipeline: Pipeline, batches: list[PartitionBatch]) -> None:
    pipeline.recreate(topic(pipeline))
    pipeline.check_output(*ADOPT)
    age(pipeline)
    adoption = batch_rows(pipeline)[-4:]
    assert [row[:3] for row in adoption] == [(0, 0, OLD), (0, 1, -1), (1, 1, -1), (2, 1, -1)]
    pipeline.check_output(*MAINTAIN)
    rows = batch_rows(pipeline)
    assert (len(rows), rows[-4:]) == (WINDOW + 3, adoption)
    pipeline.order_resend(topic(pipeline))
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, number) for number in (OLD, OLD + 1)])
    pipeline.consume("actions")
    wait_until(lambda: OLD + 1 in loaded_ids(pipeline), "the chain continues")
    assert sorted(loaded_ids(pipeline)) == [*range(1, OLD + 2)]


def test_folded_counts_do_not_overflow(pipeline: Pipeline, batches: list[PartitionBatch]) -> None:
    pipeline.query("UPDATE crm_bot_ledger SET rows_loaded = 500000000 WHERE topic = %s", topic(pipeline))
    for _ in range(2):
        pipeline.check_output(*MAINTAIN)
        rows = batch_rows(pipeline)
        assert {row[5] for row in rows[:-WINDOW]} == {2_000_000_000}
        assert sum(row[5] for row in rows) == 500_000_000 * OLD
        assert breaks(pipeline) == 0


def test_only_the_owner_can_run_it(pipeline: Pipeline, batches: list[PartitionBatch]) -> None:
    pipeline.query("CREATE ROLE reader LOGIN")
    pipeline.query("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO reader")
    before = batch_rows(pipeline)
    try:
        refused: subprocess.CompletedProcess[str] = pipeline.run(
            *MAINTAIN, WAREHOUSE_DSN=make_conninfo(pipeline.dsn, user="reader")
        )
    finally:
        pipeline.query("DROP OWNED BY reader")
        pipeline.query("DROP ROLE reader")
    assert refused.returncode == 2
    assert "belongs to the role postgres" in refused.stderr
    assert batch_rows(pipeline) == before


def test_planner_statistics_are_updated(pipeline: Pipeline, batches: list[PartitionBatch]) -> None:
    pipeline.check_output(*MAINTAIN)
    known = "SELECT reltuples FROM pg_class WHERE oid = %s::regclass"
    assert pipeline.query(known, f"crm_bot_actions_{pipeline.mrf}") == [(OLD,)]
    assert pipeline.query(known, "crm_bot_rejects") != [(-1,)]
