"""The warehouse's tables on a real PostgreSQL: they match the contract, and psql creates the same ones."""

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from crmbot_consumer.copy_text import copy_columns
from crmbot_consumer.migrate import migrate
from crmbot_consumer.settings import MigrateSettings
from crmbot_core.contracts import STREAMS, Stream
from crmbot_core.contracts.models import ROUBLES_PATTERN, TIMESTAMP_PATTERN, UUID_PATTERN
from crmbot_core.errors import ConfigurationError
from devstack.postgres import Postgres, bin_directory

from .guard import COLUMN_VARIABLES, storage
from .statements import ROOT, storage_clauses

SQL = ROOT / "sql"
TYPES = {
    UUID_PATTERN: "uuid",
    TIMESTAMP_PATTERN: "timestamp with time zone",
    ROUBLES_PATTERN: "numeric(14,2)",
}
COMMON_TABLES = {
    "crm_bot_migrations",
    "crm_bot_ledger",
    "crm_bot_resends",
    "crm_bot_losses",
    "crm_bot_foreign_sources",
    "crm_bot_rejects",
    "crm_bot_replays",
}
MRF_TABLES = {"crm_bot_actions_mrf1", "crm_bot_nature_mrf1", "crm_bot_plan_mrf1"}


class WarehouseColumn(NamedTuple):
    name: str
    type: str
    is_nullable: bool
    default: str | None


class Table(NamedTuple):
    """A table in the catalogue; `key` are the columns of its primary key, in order."""

    columns: tuple[WarehouseColumn, ...]
    key: tuple[str, ...]


ADDED = {
    WarehouseColumn("kafka_offset", "bigint", False, None),
    WarehouseColumn("loaded_at", "timestamp with time zone", False, "now()"),
}


@contextmanager
def database(server: Postgres, name: str) -> Iterator[str]:
    """Create a database and yield its DSN."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(server.dsn, dbname=name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def migrated(postgres: Postgres) -> Iterator[str]:
    with database(postgres, "migrated") as dsn:
        migrate(settings(dsn))
        yield dsn


def settings(dsn: str, mrf: str = "mrf1") -> MigrateSettings:
    return MigrateSettings(mrf=mrf, warehouse_dsn=dsn, sql_dir=SQL)


def expected_type(schema: dict[str, Any]) -> str:
    """Return the type of the column that holds a field, given the field's JSON Schema."""
    if schema.get("type") == "integer":
        return "bigint" if schema.get("maximum", 0) > 2**31 - 1 else "integer"
    return TYPES.get(schema.get("pattern", ""), "text")


def tables(dsn: str) -> dict[str, Table]:
    """Return all tables of a database."""
    with psycopg.connect(dsn) as connection:
        columns = connection.execute(
            """
            SELECT c.oid, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
                   pg_get_expr(d.adbin, d.adrelid)
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relkind = 'r' ORDER BY c.relname, a.attnum
            """
        ).fetchall()
        keys = connection.execute(
            """
            SELECT i.indrelid::regclass::text, a.attname
            FROM pg_index i
            CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indisprimary ORDER BY i.indrelid, k.place
            """
        ).fetchall()
    return {
        table: Table(
            tuple(WarehouseColumn(*column[2:]) for column in columns if column[1] == table),
            tuple(name for owner, name in keys if owner == table),
        )
        for table in dict.fromkeys(column[1] for column in columns)
    }


@pytest.mark.parametrize("stream", STREAMS.values(), ids=lambda stream: stream.name)
def test_a_streams_table_has_the_contracts_columns(migrated: str, stream: Stream) -> None:
    columns = tables(migrated)[stream.table("mrf1")].columns
    contract = [column for column in columns if column.name not in {added.name for added in ADDED}]
    fields = stream.model.model_json_schema()["properties"].values()
    assert contract == [
        WarehouseColumn(column.name, expected_type(schema), column.nullable, None)
        for column, schema in zip(stream.columns, fields, strict=True)
    ]
    assert {column for column in columns if column not in contract} == ADDED


@pytest.mark.parametrize("stream", STREAMS.values(), ids=lambda stream: stream.name)
def test_copy_writes_every_column_but_the_one_with_a_default(migrated: str, stream: Stream) -> None:
    columns = tables(migrated)[stream.table("mrf1")].columns
    assert copy_columns(stream) == tuple(c.name for c in columns if c.default is None)


def test_psql_creates_the_same_tables(migrated: str, postgres: Postgres) -> None:
    files = [
        SQL / "storage" / "postgresql.sql",
        *sorted(SQL.glob("common/*.sql")),
        *sorted(SQL.glob("mrf/*.sql")),
    ]
    command = [str(bin_directory() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "mrf=mrf1"]
    with database(postgres, "by_hand") as dsn:
        subprocess.run(
            [*command, *(f"--file={file}" for file in files), dsn], check=True, capture_output=True, text=True
        )
        by_hand = tables(dsn)
    assert by_hand.keys() == COMMON_TABLES | MRF_TABLES
    assert by_hand == tables(migrated)
    assert by_hand["crm_bot_ledger"].key == ("topic", "kafka_partition", "log_epoch", "start_offset")


def test_migrate_again_does_nothing_and_another_mrf_adds_its_own(postgres: Postgres) -> None:
    with database(postgres, "twice") as dsn:
        assert len(migrate(settings(dsn))) == 5
        once = tables(dsn)
        assert migrate(settings(dsn)) == []
        assert tables(dsn) == once
        assert migrate(settings(dsn, "mrf2")) == [
            "001_actions.sql mrf2",
            "002_nature.sql mrf2",
            "003_plan.sql mrf2",
        ]
        assert tables(dsn).keys() - once.keys() == {
            "crm_bot_actions_mrf2",
            "crm_bot_nature_mrf2",
            "crm_bot_plan_mrf2",
        }


def test_a_file_edited_after_it_was_applied_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    files = shutil.copytree(SQL, tmp_path / "sql")
    with database(postgres, "edited") as dsn:
        migrate(settings(dsn))
        before = tables(dsn)
        plan = files / "mrf" / "003_plan.sql"
        plan.write_text(plan.read_text(encoding="utf-8").replace("branch", "office"), encoding="utf-8")
        edited = MigrateSettings(mrf="mrf1", warehouse_dsn=dsn, sql_dir=files)
        with pytest.raises(ConfigurationError, match=r"003_plan\.sql was edited after it was applied as"):
            migrate(edited)
        assert tables(dsn) == before
        with psycopg.connect(dsn) as connection:  # as if applied by hand
            connection.execute("UPDATE crm_bot_migrations SET checksum = NULL")
        assert migrate(edited) == []


def test_concurrent_migrations_create_each_table_once(postgres: Postgres) -> None:
    for attempt in range(10):  # two rarely collide on the same catalogue row
        with database(postgres, f"at_once_{attempt}") as dsn, ThreadPoolExecutor(4) as threads:
            applied = list(threads.map(migrate, [settings(dsn)] * 4))
            assert sorted(map(len, applied)) == [0, 0, 0, 5]
            assert tables(dsn).keys() == COMMON_TABLES | MRF_TABLES


def test_greenplum_has_a_clause_for_every_variable() -> None:
    greenplum, postgresql = storage_clauses("greenplum"), storage_clauses("postgresql")
    assert greenplum.keys() == postgresql.keys()
    assert set(postgresql.values()) == {""}
    of_tables = {name: clause for name, clause in greenplum.items() if name not in COLUMN_VARIABLES}
    assert {name: storage(clause).is_heap for name, clause in of_tables.items()} == {
        name: name.startswith("heap_") for name in of_tables
    }


def test_a_later_file_adds_a_column(postgres: Postgres, tmp_path: Path) -> None:
    files = shutil.copytree(SQL, tmp_path / "sql")
    with database(postgres, "later") as dsn:
        migrate(settings(dsn))
        later = "ALTER TABLE crm_bot_actions_:mrf ADD COLUMN campaign text :columnar_column;\n"
        (files / "mrf" / "004_actions_campaign.sql").write_text(later, encoding="utf-8")
        upgraded = MigrateSettings(mrf="mrf1", warehouse_dsn=dsn, sql_dir=files)
        assert migrate(upgraded) == ["004_actions_campaign.sql mrf1"]
        added = tables(dsn)["crm_bot_actions_mrf1"].columns[-1]
        assert added == WarehouseColumn("campaign", "text", True, None)
        assert migrate(upgraded) == []
