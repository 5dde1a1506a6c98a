"""`maintain` folds the ledger, and nothing that anybody asks of it has another answer then."""

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
from tests.integration.road import Road, wait_until
from tests.integration.test_consumer import loaded_ids, topic
from tests.integration.test_ledger import ADOPT, batch_of

MAINTAIN = ("crmbot-consumer", "maintain")
WAREHOUSE_ONLY = ("crmbot-producer", "audit", "--warehouse-only", "--json")
OLD = WINDOW + 200  # batches, so that some are folded and the newest stay
_NUMBERS = itertools.count(600)


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    """A database of its own, for some tests put a trigger on the ledger."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE maintained")
    return make_conninfo(postgres.dsn, dbname="maintained")


@pytest.fixture
def road(kafka: Kafka, dsn: str, tmp_path: Path) -> Iterator[Road]:
    road = Road(f"mrf{next(_NUMBERS)}", tmp_path, kafka.bootstrap_servers, dsn).set_up()
    try:
        yield road
    finally:
        road.close()


@pytest.fixture
def warehouse(road: Road) -> Iterator[Warehouse]:
    settings = WarehouseSettings(warehouse_dsn=road.dsn)
    with closing(Warehouse(settings, ACTIONS, road.mrf, copy_columns(ACTIONS), 30)) as warehouse:
        yield warehouse


@pytest.fixture
def batches(road: Road, warehouse: Warehouse) -> list[PartitionBatch]:
    """Old batches of a row each, loaded from the partition 0 of the topic."""
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in range(1, OLD + 1)])
    identity = topic_id(AdminClient({"bootstrap.servers": road.bootstrap}), topic(road))
    loaded = [batch_of(road, Position(identity, 0), [1])]
    loaded += (
        batch_of(road, Position(identity, number - 1, {SOURCE: number - 1}), [number])
        for number in range(2, OLD + 1)
    )
    warehouse.load(Load(loaded, [copy_text(batch.rows, batch.offsets) for batch in loaded]))
    age(road)
    return loaded


def load(warehouse: Warehouse, batch: PartitionBatch) -> None:
    warehouse.load(Load([batch], [copy_text(batch.rows, batch.offsets)]))


def age(road: Road) -> None:
    """Make all that is loaded a month older."""
    for table in ("crm_bot_ledger", "{actions}", "{nature}"):
        road.query(f"UPDATE {table} SET loaded_at = loaded_at - interval '30 days'")


def batch_rows(road: Road) -> list[tuple[Any, ...]]:
    return road.query(
        "SELECT kafka_partition, log_epoch, start_offset, end_offset, topic_id, rows_loaded, rows_rejected, "
        "rows_duplicate, rows_superseded, last_ids::text, gaps::text, loaded_at "
        "FROM crm_bot_ledger WHERE topic = %s ORDER BY 1, 2, 3",
        topic(road),
    )


def breaks(road: Road) -> int:
    with psycopg.connect(road.dsn) as connection:
        return len(ledger.breaks(connection, topic(road)))


def told(output: str) -> list[str]:
    """Return an audit's result without what depends on the clock."""
    return [part for part in output.split(", ") if not part.startswith('"seconds"')]


@contextmanager
def held_folds(road: Road) -> Iterator[Callable[[], None]]:
    """Have each fold wait in the middle, when batches are deleted; yields what lets them go on."""
    with psycopg.connect(road.dsn, autocommit=True) as gate:
        gate.execute("SELECT pg_advisory_lock(11)")
        gate.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(11); RETURN NULL; END $$"
        )
        gate.execute("CREATE TRIGGER hold AFTER DELETE ON crm_bot_ledger EXECUTE FUNCTION hold()")

        def let_go() -> None:
            gate.execute("SELECT pg_advisory_unlock(11)")

        try:
            yield let_go
        finally:
            gate.execute("SELECT pg_advisory_unlock_all()")
            gate.execute("DROP FUNCTION hold() CASCADE")


def waiting(road: Road, name: str) -> bool:
    """Tell whether a session of that name waits for a lock."""
    query = (
        "SELECT 1 FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE %s AND wait_event_type = 'Lock'"
    )
    return bool(road.query(query, f"{name} %"))


def test_after_a_fold_every_question_has_the_same_answer(road: Road) -> None:
    road.backfill(5_000)
    road.send_all()
    send(road.bootstrap, topic(road), [action(road.mrf, 1, surprise="yes")] * 3)
    consumer = road.consume("actions", BATCH_ROWS="1")
    road.wait_for_all("actions", 120)
    road.consume("nature")
    road.produce("nature")
    road.wait_for_all("nature")
    assert consumer.terminate() == 0
    age(road)
    questions: list[Callable[[], object]] = [
        lambda: told(road.must("crmbot-producer", "audit", "--json")),
        lambda: told(road.must(*WAREHOUSE_ONLY)),
        lambda: told(road.must("crmbot-consumer", "rejects", "list", "--stream", "actions")),
        lambda: positions(road),
        lambda: newest_batches(road),
        lambda: offsets_mart(road),
        lambda: road.query(
            "SELECT kafka_partition, min(start_offset), sum(rows_loaded), sum(rows_rejected), "
            "sum(rows_duplicate) FROM crm_bot_ledger WHERE topic = %s GROUP BY 1 ORDER BY 1",
            topic(road),
        ),
    ]
    before = [question() for question in questions]
    rows = len(batch_rows(road))
    assert rows > 3 * (WINDOW + 1)
    assert f"{topic(road)}: {3 * (WINDOW + 1)} batches in the ledger, {rows} before" in road.must(*MAINTAIN)
    assert [question() for question in questions] == before
    assert f"{topic(road)}: {3 * (WINDOW + 1)} batches in the ledger, {3 * (WINDOW + 1)} before" in road.must(
        *MAINTAIN
    )
    # The road goes on, and its recovery too.
    road.must("crmbot-producer", "resend", "--stream", "actions")
    road.must("crmbot-generator", "live", "--rate", "100", "--seconds", "1")
    road.produce("actions")
    road.consume("actions")
    road.wait_for_all("actions")
    assert road.audit()["clean"]


def positions(road: Road) -> dict[int, Position]:
    with psycopg.connect(road.dsn) as connection:
        return ledger.positions(connection, topic(road), range(3))


def newest_batches(road: Road) -> list[list[tuple[int, int]]]:
    with psycopg.connect(road.dsn) as connection:
        return [list(ledger.newest_batches(connection, topic(road), n, WINDOW)) for n in range(3)]


def offsets_mart(road: Road) -> list[tuple[Any, ...]]:
    road.must("crmbot-exporter", "export", STREAM="actions", OUTPUT_DIR=str(road.folder))
    return road.query(f"SELECT * FROM crm_bot_mart_offsets_{road.mrf} ORDER BY 1, 2")


def test_a_running_consumer_is_not_disturbed(road: Road, batches: list[PartitionBatch]) -> None:
    consumer = road.consume("actions", BATCH_SECONDS="0.01", BATCH_ROWS="1")
    wait_until(lambda: consumer.logged('"assigned"'), "the consumer works")
    newer = range(OLD + 1, OLD + 501)
    with ThreadPoolExecutor() as threads:
        sent = threads.submit(
            send, road.bootstrap, topic(road), [action(road.mrf, number) for number in newer]
        )
        while not sent.done() or len(loaded_ids(road)) < OLD + 100:
            road.must(*MAINTAIN)
            age(road)  # so that the next one folds what this consumer has loaded
    wait_until(lambda: loaded_ids(road) == [*range(1, OLD + 501)], "each row once, in order")
    assert consumer.terminate() == 0
    assert not [event for event in consumer.events if event["level"] in ("warning", "error")]
    assert breaks(road) == 0
    assert len(batch_rows(road)) < OLD + 500


def test_a_batch_that_was_folded_cannot_be_loaded_again(
    road: Road, warehouse: Warehouse, batches: list[PartitionBatch]
) -> None:
    """A consumer that was believed dead for a month goes on."""
    road.must(*MAINTAIN)
    assert len(batch_rows(road)) == WINDOW + 1
    for batch in (batches[0], batches[1], batches[100], batches[199], batches[200], batches[-1]):
        with pytest.raises(FencedError):
            load(warehouse, batch)
    assert len(loaded_ids(road)) == OLD
    load(warehouse, batch_of(road, batches[-1].end, [OLD + 1]))


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_batch_cannot_be_loaded_again_while_it_is_folded(
    road: Road, warehouse: Warehouse, batches: list[PartitionBatch], isolation: str
) -> None:
    warehouse.close()
    road.query(f"ALTER ROLE postgres SET default_transaction_isolation = '{isolation}'")
    with held_folds(road) as let_go, ThreadPoolExecutor() as threads:
        maintained = threads.submit(road.run, *MAINTAIN)
        wait_until(lambda: waiting(road, f"maintain {road.mrf}"), "the fold is in the middle")
        zombie = threads.submit(load, warehouse, batches[100])
        wait_until(lambda: waiting(road, f"consumer {topic(road)}"), "the zombie waits")
        let_go()
        with pytest.raises(FencedError):
            zombie.result()
        assert maintained.result().returncode == 0
    road.query("ALTER ROLE postgres RESET default_transaction_isolation")
    assert loaded_ids(road) == [*range(1, OLD + 1)]
    assert len(batch_rows(road)) == WINDOW + 1


def test_messages_that_were_loaded_long_ago_are_dropped_when_they_come_again(
    road: Road, batches: list[PartitionBatch]
) -> None:
    road.must(*MAINTAIN)
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in (1, 50, OLD, OLD + 1)])
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [*range(1, OLD + 2)], "only the new row")
    assert sum(row[7] for row in batch_rows(road)) == 3
    assert road.query("SELECT count(*) FROM crm_bot_rejects WHERE topic = %s", topic(road)) == [(0,)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "vanished"])
def test_a_fold_that_loses_its_client_blocks_nobody(
    road: Road, warehouse: Warehouse, batches: list[PartitionBatch], how: signal.Signals
) -> None:
    before = batch_rows(road)
    with held_folds(road) as let_go:
        client = road.start(*MAINTAIN)
        wait_until(lambda: waiting(road, f"maintain {road.mrf}"), "the fold is in the middle")
        client.process.send_signal(how)
        assert batch_rows(road) == before
        let_go()
        load(warehouse, batch_of(road, batches[-1].end, [OLD + 1]))  # before anybody notices
    assert breaks(road) == 0
    client.process.kill()
    road.must(*MAINTAIN)
    assert breaks(road) == 0
    assert len(batch_rows(road)) == WINDOW + 1
    assert sum(row[5] for row in batch_rows(road)) == OLD + 1


def test_a_fold_that_waits_for_a_load_lets_others_pass(
    road: Road, warehouse: Warehouse, batches: list[PartitionBatch]
) -> None:
    """As when a load takes long, or its consumer has vanished in the middle."""
    tries: set[Any] = set()
    with psycopg.connect(road.dsn) as other, ThreadPoolExecutor() as threads:
        ledger.insert(other, "crm_bot_actions_mrf1", [batch_of(road, Position("id", 0), [1]).entry])
        maintained = threads.submit(road.run, *MAINTAIN)
        number, end = OLD, batches[-1].end
        while len(tries) < 8:
            number += 1
            batch = batch_of(road, end, [number])
            load(warehouse, batch)
            end = batch.end
            tries |= set(
                road.query(
                    "SELECT query_start FROM pg_stat_activity "
                    "WHERE application_name LIKE %s AND wait_event_type = 'Lock'",
                    f"maintain {road.mrf} %",
                )
            )
        other.rollback()
        assert maintained.result().returncode == 0
    assert loaded_ids(road) == [*range(1, number + 1)]
    assert batch_rows(road)[0][5] >= OLD - WINDOW


def test_several_at_once_fold_once(road: Road, batches: list[PartitionBatch]) -> None:
    with held_folds(road) as let_go, ThreadPoolExecutor() as threads:
        running = [threads.submit(road.run, *MAINTAIN) for _ in range(3)]
        wait_until(lambda: waiting(road, f"maintain {road.mrf}"), "one is in the middle")
        let_go()
        assert [done.result().returncode for done in running] == [0, 0, 0]
    folded, *newest = batch_rows(road)
    assert (folded[2:4], folded[5], len(newest)) == ((0, 200), 200, WINDOW)
    assert folded[9:11] == (f'{{"{SOURCE}": 200}}', "{}")


def test_a_gap_stays_where_it_is_and_is_named(road: Road, batches: list[PartitionBatch]) -> None:
    road.query("DELETE FROM crm_bot_ledger WHERE topic = %s AND start_offset = 100", topic(road))
    road.query("DELETE FROM {actions} WHERE transaction_id = 50")
    before, audited = batch_rows(road), road.run(*WAREHOUSE_ONLY)
    assert audited.returncode == 4
    assert "1 breaks in the ledger's chain" in audited.stdout
    refused = road.run(*MAINTAIN)
    assert refused.returncode == 3
    place = f"{topic(road)} partition 0, epoch 0: the batch at offset 101 follows one that ends at 100"
    assert place in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert batch_rows(road) == before
    assert told(road.run(*WAREHOUSE_ONLY).stdout) == told(audited.stdout)
    # A row that is missing in the table shows after a fold as before it.
    road.query(
        "INSERT INTO crm_bot_ledger "
        "SELECT topic, kafka_partition, log_epoch, 100, 101, topic_id, 1, 0, 0, 0, last_ids, gaps, loaded_at "
        "FROM crm_bot_ledger WHERE topic = %s AND start_offset = 99",
        topic(road),
    )
    audited = road.run(*WAREHOUSE_ONLY)
    road.must(*MAINTAIN)
    assert len(batch_rows(road)) == WINDOW + 1
    assert "unlinked" in audited.stdout
    assert told(road.run(*WAREHOUSE_ONLY).stdout) == told(audited.stdout)


def test_what_an_adoption_wrote_stays(road: Road, batches: list[PartitionBatch]) -> None:
    road.recreate(topic(road))
    road.must(*ADOPT)
    age(road)
    closing_row, adopting_row = batch_rows(road)[-2:]
    road.must(*MAINTAIN)
    rows = batch_rows(road)
    assert (len(rows), rows[-2:]) == (WINDOW + 1, [closing_row, adopting_row])
    send(road.bootstrap, topic(road), [action(road.mrf, number) for number in (OLD, OLD + 1)])
    road.consume("actions")
    wait_until(lambda: OLD + 1 in loaded_ids(road), "the chain goes on")
    assert sorted(loaded_ids(road)) == [*range(1, OLD + 2)]


def test_a_row_of_the_ledger_counts_no_more_than_it_can(road: Road, batches: list[PartitionBatch]) -> None:
    road.query("UPDATE crm_bot_ledger SET rows_loaded = 500000000 WHERE topic = %s", topic(road))
    for _ in range(2):
        road.must(*MAINTAIN)
        rows = batch_rows(road)
        assert {row[5] for row in rows[:-WINDOW]} == {2_000_000_000}
        assert sum(row[5] for row in rows) == 500_000_000 * OLD
        assert breaks(road) == 0


def test_only_the_owner_can_do_it(road: Road, batches: list[PartitionBatch]) -> None:
    road.query("CREATE ROLE reader LOGIN")
    road.query("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO reader")
    before = batch_rows(road)
    try:
        refused: subprocess.CompletedProcess[str] = road.run(
            *MAINTAIN, WAREHOUSE_DSN=make_conninfo(road.dsn, user="reader")
        )
    finally:
        road.query("DROP OWNED BY reader")
        road.query("DROP ROLE reader")
    assert refused.returncode == 2
    assert "belongs to the role postgres" in refused.stderr
    assert batch_rows(road) == before


def test_the_planner_learns_how_many_rows_there_are(road: Road, batches: list[PartitionBatch]) -> None:
    road.must(*MAINTAIN)
    known = "SELECT reltuples FROM pg_class WHERE oid = %s::regclass"
    assert road.query(known, f"crm_bot_actions_{road.mrf}") == [(OLD,)]
    assert road.query(known, "crm_bot_rejects") != [(-1,)]
