"""A PostgreSQL warehouse for the exporter's tests, with small data sets."""

import itertools
import os
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from crmbot_core import psql
from crmbot_core.contracts import ACTIONS, NATURE, Stream
from crmbot_exporter.settings import ExporterSettings
from devstack.postgres import Postgres

SQL_DIR = Path(__file__).parents[3] / "sql"
SOURCE = uuid.UUID(int=1)
LOADED_AT = datetime(2025, 3, 20, 9, 30, tzinfo=UTC)
FIRST_DAY = datetime(2024, 12, 30, tzinfo=UTC)  # of the random rows; they end on 16 March
Record = dict[str, Any]

_COMMON: Record = {
    "schema_version": 1,
    "mrf": "mrf1",
    "source_id": SOURCE,
    "occurred_at": datetime(2025, 3, 3, 9, 0, tzinfo=UTC),
    "lead_id": "L1",
    "client_id": "C1",
    "segment": "individual",
    "manager_id": "M1",
    "manager_name": "Иванова Анна",
    "branch": "Тульский",
    "city": "Тула",
}
_ACTION: Record = {
    "client_name": "ООО «Вектор»",
    "action": "call",
    "channel": "phone",
    "product": "Интернет",
    "result": "interested",
    "refusal_reason": None,
    "potential_revenue": "100.50",
}
_STEP: Record = {
    "order_id": "O1",
    "service": "Интернет",
    "tariff": "Старт 100",
    "units": 1,
    "status": "application",
    "lost_reason": None,
    "one_off_revenue": "500.00",
    "monthly_revenue": "700.00",
}


@dataclass
class Warehouse:
    """A separate database with the tables of mrf1."""

    dsn: str
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add_actions(self, *rows: Mapping[str, Any]) -> list[Record]:
        """Insert rows, with defaults for missing columns. Return the complete rows."""
        return self._add(ACTIONS, [_COMMON | _ACTION | dict(row) for row in rows])

    def add_steps(self, *rows: Mapping[str, Any]) -> list[Record]:
        """Insert rows into nature, with defaults for missing columns. Return the complete rows."""
        return self._add(NATURE, [_COMMON | _STEP | dict(row) for row in rows])

    def add_ledger(self, stream: Stream, partition: int, end_offset: int, loaded_at: datetime) -> None:
        """Insert a ledger row: a partition is loaded up to an offset."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "INSERT INTO crm_bot_ledger (topic, kafka_partition, log_epoch, start_offset, end_offset, "
                "topic_id, rows_loaded, rows_rejected, rows_duplicate, rows_superseded, last_ids, gaps, "
                "loaded_at) VALUES (%s, %s, 0, 0, %s, 'id', %s, 0, 0, 0, '{}', '{}', %s)",
                (stream.topic("mrf1"), partition, end_offset, end_offset, loaded_at),
            )

    def settings(self, output_dir: Path, **others: Any) -> ExporterSettings:  # noqa: ANN401
        return ExporterSettings(
            warehouse_dsn=self.dsn, sql_dir=SQL_DIR, mrf="mrf1", output_dir=output_dir, **others
        )

    def environment(self, output_dir: Path, **others: str) -> dict[str, str]:
        """Return the same settings as environment variables."""
        given = {"WAREHOUSE_DSN": self.dsn, "SQL_DIR": str(SQL_DIR), "MRF": "mrf1"}
        return {**os.environ, **given, "OUTPUT_DIR": str(output_dir), **others}

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(text).fetchall()

    def wait_for_lock(self) -> None:
        """Block until a session of this database waits for a lock."""
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 60
        while not self.query(waiting):
            assert time.monotonic() < deadline, "no session waits for a lock"
            time.sleep(0.02)

    def _add(self, stream: Stream, rows: list[Record]) -> list[Record]:
        for row in rows:
            row.setdefault("transaction_id", next(self.ids))
            row.setdefault("event_id", uuid.uuid4())
            row.setdefault("recorded_at", row["occurred_at"] + timedelta(seconds=2))
            row.update(
                kafka_partition=0, kafka_offset=row["transaction_id"], previous_id=row["transaction_id"] - 1
            )
            row.setdefault("loaded_at", LOADED_AT)
        columns = [*stream.column_names, "kafka_offset", "loaded_at"]
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(stream.table("mrf1")), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with psycopg.connect(self.dsn) as connection, connection.cursor().copy(copy) as rows_in:
            for row in rows:
                rows_in.write_row([row[column] for column in columns])
        return rows


@pytest.fixture(scope="session")
def warehouse_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server.dsn


@contextmanager
def new_warehouse(warehouse_dsn: str) -> Iterator[Warehouse]:
    """Yield a database with empty tables of mrf1."""
    name = f"exporter_{uuid.uuid4().hex}"
    with psycopg.connect(warehouse_dsn, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made = Warehouse(make_conninfo(warehouse_dsn, dbname=name))
        variables = psql.variables(SQL_DIR / "storage" / "postgresql.sql") | {"mrf": "mrf1"}
        with psycopg.connect(made.dsn) as connection:
            for folder in ("common", "mrf"):
                for path in sorted((SQL_DIR / folder).glob("*.sql")):
                    connection.execute(psql.script(path, variables))
        yield made
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def warehouse(warehouse_dsn: str) -> Iterator[Warehouse]:
    with new_warehouse(warehouse_dsn) as made:
        yield made


@pytest.fixture
def random_actions(warehouse: Warehouse) -> list[Record]:
    return add_random_actions(warehouse)


@pytest.fixture
def random_steps(warehouse: Warehouse) -> list[Record]:
    return add_random_steps(warehouse)


@pytest.fixture(scope="module")
def filled(warehouse_dsn: str) -> Iterator[tuple[Warehouse, list[Record], list[Record]]]:
    """A warehouse shared by a module's tests, with its actions and order steps."""
    with new_warehouse(warehouse_dsn) as made:
        yield made, add_random_actions(made), add_random_steps(made)


def add_random_actions(warehouse: Warehouse) -> list[Record]:
    """Insert six hundred actions on a hundred leads over eleven weeks."""
    draw = random.Random(3)
    rows = []
    for _ in range(600):
        lead = draw.randrange(100)
        manager = draw.randrange(7)
        result = draw.choice(
            ["new", "interested", "callback", "no_answer", "thinking", "refused", "order_placed"]
        )
        rows.append(
            {
                "lead_id": f"L{lead}",
                "occurred_at": FIRST_DAY + timedelta(minutes=draw.randrange(1_440 * lead // 2, 110_000)),
                "manager_id": f"M{manager}",
                "manager_name": f"Менеджер {manager}",
                "branch": f"Филиал {manager % 3}",
                "action": draw.choice(
                    ["lead_created", "call", "message", "meeting", "presentation", "offer"]
                ),
                "product": draw.choice(["Интернет", "ТВ", "Умный дом"]),
                "result": result,
                "refusal_reason": draw.choice(["Дорого", None]) if result == "refused" else None,
                "potential_revenue": f"{draw.randrange(1, 500_000) / 100:.2f}",
            }
        )
    return warehouse.add_actions(*rows)


def add_random_steps(warehouse: Warehouse) -> list[Record]:
    """Insert the interleaved steps of two hundred orders over eleven weeks."""
    draw = random.Random(4)
    rows: list[Record] = []
    for order in range(200):
        at = FIRST_DAY + timedelta(minutes=draw.randrange(100_000))
        manager = draw.randrange(7)
        service = draw.choice(["Интернет", "ТВ", "Умный дом"])
        whole: Record = {
            "order_id": f"O{order}",
            "lead_id": f"L{draw.randrange(100)}",
            "manager_id": f"M{manager}",
            "manager_name": f"Менеджер {manager}",
            "branch": f"Филиал {manager % 3}",
            "service": service,
            "tariff": f"{service} {draw.randrange(2)}",
            "units": draw.randrange(1, 9),
            "one_off_revenue": f"{draw.randrange(0, 90_000) / 100:.2f}",
            "monthly_revenue": f"{draw.randrange(1, 500_000) / 100:.2f}",
        }
        for status in ("application", "feasibility", "contract", "connected")[: draw.randrange(1, 5)]:
            rows.append(whole | {"status": status, "occurred_at": at})
            at += timedelta(minutes=draw.randrange(1, 8_000))
        if rows[-1]["status"] != "connected" and draw.random() < 0.5:
            reason = draw.choice(["Клиент передумал", None])
            rows.append(whole | {"status": "lost", "lost_reason": reason, "occurred_at": at})
    rows = [row for row in rows if row["occurred_at"] < FIRST_DAY + timedelta(minutes=110_000)]
    return warehouse.add_steps(*sorted(rows, key=lambda row: row["occurred_at"]))
