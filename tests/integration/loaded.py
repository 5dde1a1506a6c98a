"""A bot's files and its loaded tables, written directly so that tests can tamper with them."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import psycopg
from psycopg.types.json import Json

from crmbot_consumer.migrate import migrate
from crmbot_consumer.settings import MigrateSettings
from crmbot_core.contracts import ACTIONS, STREAMS
from crmbot_core.settings import WarehouseSettings
from crmbot_producer.audit.result import StreamAudit
from crmbot_producer.audit.verdict import audit
from crmbot_producer.audit.warehouse_only import audit_warehouse

PARTITIONS = 3
SOURCE = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
TEXT = 'Иван "Ваня" Иванов\\1'


@dataclass
class LoadedPipeline:
    """actions.db of one MRF, an empty nature.db, and their tables."""

    dsn: str
    mrf: str
    data: Path
    offsets: dict[int, int] = field(default_factory=dict)
    last_ids: dict[int, dict[str, int]] = field(default_factory=dict)
    epoch: int = 0

    @property
    def topic(self) -> str:
        return ACTIONS.topic(self.mrf)

    def set_up(self) -> "LoadedPipeline":
        """Create the files, with a first identity and no rows, and the tables."""
        migrate(MigrateSettings(warehouse_dsn=self.dsn, mrf=self.mrf))
        for stream in STREAMS.values():
            with closing(sqlite3.connect(self.data / f"{stream.name}.db")) as connection, connection:
                connection.executescript(stream.sqlite_ddl)
                source_id = SOURCE if stream is ACTIONS else str(uuid4())
                connection.execute(
                    "INSERT INTO source VALUES (?, ?, ?, 1, 0, NULL)", (source_id, stream.name, self.mrf)
                )
        return self

    def in_file(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL in actions.db."""
        with closing(sqlite3.connect(self.data / "actions.db")) as connection, connection:
            return connection.execute(statement, parameters).fetchall()

    def write(self, numbers: Iterable[int], **changes: object) -> None:
        """Insert rows into actions.db, five per lead."""
        for number in numbers:
            values = (
                {
                    column.name: column.values[0] if column.values else column.name
                    for column in ACTIONS.sqlite_columns
                }
                | {
                    "transaction_id": number,
                    "event_id": str(uuid4()),
                    "occurred_at": "2026-02-28T09:30:00.250Z",
                    "recorded_at": "2026-02-28T09:30:01.000Z",
                    "lead_id": f"L{number // 5}",
                    "client_name": TEXT,
                    "refusal_reason": None if number % 2 else "дорого",
                    "potential_revenue": f"{number % 977}.50",
                }
                | changes
            )
            marks = ", ".join("?" * len(values))
            self.in_file(f"INSERT INTO actions ({', '.join(values)}) VALUES ({marks})", *values.values())

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL in the warehouse; `{actions}` stands for the MRF's table, `{topic}` for its topic."""
        text = statement.format(actions=self.topic, topic=f"'{self.topic}'")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(text.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def messages(self, numbers: Iterable[int], source_id: str = SOURCE) -> list[dict[str, Any]]:
        """Return the messages that the producer sends for rows of the file."""
        messages = []
        names = [column.name for column in ACTIONS.sqlite_columns]
        for number in numbers:
            ((*values,),) = self.in_file(
                f"SELECT {', '.join(names)} FROM actions WHERE transaction_id = ?", number
            )
            own = dict(zip(names, values, strict=True))
            own |= {"schema_version": 1, "source_id": source_id, "mrf": self.mrf}
            partition = crc32(str(own["lead_id"]).encode()) % PARTITIONS
            last_ids = self.last_ids.setdefault(partition, {})
            message = {"kafka_partition": partition, "previous_id": last_ids.get(source_id, 0)}
            last_ids[source_id] = number
            messages.append(message | {column.name: own[column.name] for column in ACTIONS.row_columns})
        return messages

    def load(
        self,
        numbers: Iterable[int],
        source_id: str = SOURCE,
        *,
        rejected: Callable[[int], bool] = lambda _: False,
        **changes: object,
    ) -> None:
        """Load rows of the file, with changes, as one batch; some become dead letters."""
        loaded: dict[int, list[int]] = {}
        for message in self.messages(numbers, source_id):
            partition = message["kafka_partition"]
            offset = self.next_offset(partition)
            counts = loaded.setdefault(partition, [offset, 0, 0])
            if rejected(message["transaction_id"]):
                counts[2] += 1
                self.dead_letter(as_bytes(message), offset, message, is_link=True, is_counted=False)
            else:
                counts[1] += 1
                self.insert(message | changes, offset)
        for partition, (start, rows, rejects) in loaded.items():
            self.ledger_row(partition, start, rows, rejects)

    def next_offset(self, partition: int) -> int:
        self.offsets[partition] = self.offsets.get(partition, 0) + 1
        return self.offsets[partition] - 1

    def insert(self, message: dict[str, Any], offset: int) -> None:
        """Insert a row into the table, without a ledger row."""
        row = message | {"kafka_offset": offset}
        self.query(
            f"INSERT INTO {{actions}} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
            *row.values(),
        )

    def ledger_row(self, partition: int, start: int, rows: int, rejects: int) -> None:
        self.query(
            "INSERT INTO crm_bot_ledger VALUES ({topic}, %s, %s, %s, %s, %s, %s, %s, 0, 0, %s, %s)",
            *(partition, self.epoch, start, self.offsets[partition], TOPIC_ID, rows, rejects),
            *(Json(self.last_ids.get(partition, {})), Json({})),
        )

    def adopt_topic(self) -> None:
        """Close the partitions' epoch, and begin one in which offsets count from 0."""
        for partition, end in self.offsets.items():
            self.ledger_row(partition, end, 0, 0)
        self.epoch += 1
        for partition in self.offsets:
            self.offsets[partition] = 0
            self.ledger_row(partition, -1, 0, 0)

    def dead_letter(
        self,
        value: bytes,
        offset: int,
        link: dict[str, Any],
        *,
        is_link: bool = False,
        is_counted: bool = True,
    ) -> None:
        """Insert a dead letter; `link` has the fields of the chain that the consumer has read from it."""
        partition = link.get("kafka_partition", 0)
        self.query(
            "INSERT INTO crm_bot_rejects VALUES ({topic}, %s, 0, %s, 'a reason', %s, %s, %s, %s, NULL, %s)",
            *(partition, offset, link.get("source_id"), link.get("transaction_id"), link.get("previous_id")),
            *(is_link, value),
        )
        if is_counted:
            self.ledger_row(partition, offset, 0, 1)

    def foreign(self, value: bytes, **link: object) -> int:
        """Insert a dead letter of a foreign message in partition 0, and return its offset."""
        offset = self.next_offset(0)
        self.dead_letter(value, offset, {"kafka_partition": 0} | link)
        return offset

    def replay(self, partition: int, offset: int, row: dict[str, Any]) -> None:
        """Replay a dead letter with a corrected row."""
        self.query(
            "INSERT INTO crm_bot_replays VALUES ({topic}, %s, 0, %s, %s)", partition, offset, row["event_id"]
        )
        self.insert(row, offset)

    def audit(self, *former_sources: str, wait: float = 0) -> StreamAudit:
        actions, nature = audit(self._settings(), self.data, self.mrf, wait, set(former_sources))
        assert nature.is_clean, nature
        return actions

    def audit_warehouse(self) -> StreamAudit:
        actions, nature = audit_warehouse(self._settings(), self.mrf)
        assert nature.is_clean, nature
        return actions

    def _settings(self) -> WarehouseSettings:
        return WarehouseSettings(warehouse_dsn=self.dsn)


def as_bytes(message: dict[str, Any]) -> bytes:
    """Return a message as SQLite writes it."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
