"""Marts are rebuilt atomically, also by concurrent exports, and identically by hand with psql."""

import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
import structlog

from crmbot_core.errors import ConfigurationError, StoppedError, TransientError
from crmbot_core.warehouse import snapshot
from crmbot_exporter import marts
from crmbot_exporter.export import rebuild_marts
from crmbot_exporter.marts import Wanted, build_order
from crmbot_exporter.retry import retried
from crmbot_exporter.settings import ExporterSettings
from devstack.postgres import bin_directory

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Warehouse

NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
SQL_DIR = Path(__file__).parents[3] / "sql"


@pytest.fixture
def rebuild(warehouse: "Warehouse", tmp_path: Path) -> Callable[[], None]:
    def rebuild() -> None:
        rebuild_marts(warehouse.settings(tmp_path), structlog.get_logger())

    return rebuild


def _all_marts(warehouse: "Warehouse") -> dict[str, list[tuple[Any, ...]]]:
    tables = warehouse.query("SELECT tablename FROM pg_tables WHERE tablename LIKE 'crm_bot_mart_%'")
    return {name: warehouse.query(f"SELECT * FROM {name} AS t ORDER BY t::text") for (name,) in tables}


def test_marts_are_built_in_dependency_order() -> None:
    scripts = {
        "a": "CREATE TABLE crm_bot_mart_a_:build (n int); SELECT * FROM crm_bot_mart_b_:build",
        "b": "SELECT * FROM crm_bot_mart_c_d_:build, crm_bot_actions_:mrf",
        "c_d": "SELECT 1",
    }
    assert build_order(scripts) == ("c_d", "b", "a")


@pytest.mark.usefixtures("random_actions", "random_steps")
def test_rebuilding_is_idempotent_and_leaves_no_other_tables(
    warehouse: "Warehouse", rebuild: Callable[[], None]
) -> None:
    rebuild()
    first = _all_marts(warehouse)
    rebuild()
    assert _all_marts(warehouse) == first
    assert set(first) == {f"crm_bot_mart_{path.stem}_mrf1" for path in (SQL_DIR / "marts").glob("*.sql")}
    assert {name for name, rows in first.items() if not rows} == {"crm_bot_mart_offsets_mrf1"}


@pytest.mark.usefixtures("random_actions", "random_steps")
def test_the_planner_knows_how_many_rows_a_mart_has(
    warehouse: "Warehouse", rebuild: Callable[[], None]
) -> None:
    rebuild()
    known = dict(
        warehouse.query("SELECT relname, reltuples::bigint FROM pg_class WHERE relname LIKE 'crm_bot_mart_%'")
    )
    assert known == {name: len(rows) for name, rows in _all_marts(warehouse).items()}


@pytest.mark.usefixtures("random_actions", "random_steps")
def test_psql_builds_the_same_marts_by_hand(warehouse: "Warehouse", rebuild: Callable[[], None]) -> None:
    rebuild()
    ours = _all_marts(warehouse)
    texts = {path.stem: path.read_text() for path in (SQL_DIR / "marts").glob("*.sql")}
    files = [SQL_DIR / "storage" / "postgresql.sql"]
    files += [SQL_DIR / "marts" / f"{name}.sql" for name in build_order(texts)]
    command = [str(bin_directory() / "psql"), "-X", "-1", "-v", "ON_ERROR_STOP=1", "-d", warehouse.dsn]
    for name, value in {
        "mrf": "mrf1",
        "build": "by_hand",
        "timezone": "Europe/Moscow",
        "day": "",
        "run": "",
    }.items():
        command += ["-v", f"{name}={value}"]
    subprocess.run([*command, *(f"--file={file}" for file in files)], check=True, capture_output=True)
    by_hand = {
        name.replace("by_hand", "mrf1"): rows
        for name, rows in _all_marts(warehouse).items()
        if name.endswith("by_hand")
    }
    assert by_hand == ours


def _lead_states(warehouse: "Warehouse") -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT lead_id, last_result, actions FROM crm_bot_mart_actions_leads_mrf1")


def test_the_greatest_transaction_id_is_the_current_state(
    warehouse: "Warehouse", rebuild: Callable[[], None]
) -> None:
    # The later row has an earlier time: a manager recorded it afterwards.
    warehouse.add_actions(
        {"result": "refused", "occurred_at": NOON},
        {"result": "order_placed", "occurred_at": NOON - timedelta(hours=1)},
    )
    rebuild()
    assert _lead_states(warehouse) == [("L1", "order_placed", 2)]


def test_the_file_in_use_takes_precedence_over_the_one_it_replaced(
    warehouse: "Warehouse", rebuild: Callable[[], None]
) -> None:
    # A restored file continues from its backup's ids, so the replaced file has greater ones.
    warehouse.add_actions(
        {"transaction_id": 50, "result": "refused", "occurred_at": NOON},
        {"transaction_id": 40, "result": "callback", "source_id": UUID(int=2), "occurred_at": NOON},
        {
            "transaction_id": 41,
            "result": "thinking",
            "source_id": UUID(int=2),
            "occurred_at": NOON + timedelta(hours=1),
        },
    )
    rebuild()
    assert _lead_states(warehouse) == [("L1", "thinking", 3)]


def test_days_are_those_of_the_time_zone_of_the_mrf(warehouse: "Warehouse", tmp_path: Path) -> None:
    warehouse.add_actions({"occurred_at": datetime(2025, 3, 3, 20, 30, tzinfo=UTC)})
    for zone, day in (("Europe/Moscow", 3), ("Asia/Vladivostok", 4)):
        settings = warehouse.settings(tmp_path, timezone=zone)
        rebuild_marts(settings, structlog.get_logger())
        ((found,),) = warehouse.query("SELECT day FROM crm_bot_mart_actions_daily_mrf1")
        assert found.day == day


@pytest.mark.usefixtures("random_actions")
def test_readers_see_the_old_marts_until_the_new_ones_are_committed(
    warehouse: "Warehouse", rebuild: Callable[[], None], tmp_path: Path
) -> None:
    rebuild()
    before = _all_marts(warehouse)
    warehouse.add_actions({"lead_id": "new"})
    settings = warehouse.settings(tmp_path)
    with snapshot(settings) as connection:
        marts.build(connection, settings.sql_dir, Wanted("mrf1", "Europe/Moscow"))
        assert _all_marts(warehouse) == before


@pytest.mark.usefixtures("random_actions", "random_steps")
def test_two_concurrent_exports_both_succeed(warehouse: "Warehouse", rebuild: Callable[[], None]) -> None:
    rebuild()
    failures: list[Exception] = []

    def many() -> None:
        try:
            for _ in range(8):
                retried(rebuild, structlog.get_logger())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=many) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(_all_marts(warehouse)) == len(list((SQL_DIR / "marts").glob("*.sql")))


@pytest.mark.usefixtures("random_actions")
def test_the_second_of_two_first_exports_fails_with_a_transient_error(
    warehouse: "Warehouse", rebuild: Callable[[], None], tmp_path: Path
) -> None:
    settings = warehouse.settings(tmp_path)
    with psycopg.connect(warehouse.dsn) as other:
        # The other table is uncommitted: publishing cannot see or drop it, and waits for that transaction.
        other.execute("CREATE TABLE crm_bot_mart_actions_leads_mrf1 (n integer)")

        def commit_when_waited_for() -> None:
            warehouse.wait_for_lock()
            other.commit()

        committing = threading.Thread(target=commit_when_waited_for)
        committing.start()
        with pytest.raises(TransientError, match="another export"):
            _build_and_publish(settings)
        committing.join()
    rebuild()


def _build_and_publish(settings: ExporterSettings) -> None:
    with snapshot(settings) as connection:
        made = marts.build(connection, settings.sql_dir, Wanted("mrf1", "Europe/Moscow"))
        marts.publish(connection, made)


def test_the_error_for_missing_tables_names_the_command_to_run(
    warehouse: "Warehouse", rebuild: Callable[[], None]
) -> None:
    with psycopg.connect(warehouse.dsn) as connection:
        connection.execute("DROP TABLE crm_bot_actions_mrf1")
    with pytest.raises(ConfigurationError, match="crmbot-consumer migrate"):
        rebuild()


def test_the_error_for_a_view_on_a_mart_names_it_and_the_mart_is_kept(
    warehouse: "Warehouse", rebuild: Callable[[], None]
) -> None:
    rebuild()
    with psycopg.connect(warehouse.dsn) as connection:
        connection.execute("CREATE VIEW v AS SELECT * FROM crm_bot_mart_actions_daily_mrf1")
    with pytest.raises(StoppedError, match="crm_bot_mart_actions_daily_mrf1"):
        rebuild()
    assert warehouse.query("SELECT * FROM v") == []


def test_a_missing_marts_folder_is_a_configuration_error(warehouse: "Warehouse", tmp_path: Path) -> None:
    settings = warehouse.settings(tmp_path).model_copy(update={"sql_dir": tmp_path})
    with pytest.raises(ConfigurationError, match="SQL_DIR"):
        rebuild_marts(settings, structlog.get_logger())
