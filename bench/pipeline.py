"""The pipeline of one MRF: its backlog, and services that process it repeatedly."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
from confluent_kafka import Consumer, TopicPartition

from bench.measure import BenchError, Run, measured
from crmbot_core.contracts import stream_named
from crmbot_core.kafka import STATE_TOPIC
from devstack.services import Services

_ROWS_PER_ACTION = 1.35  # rows that the generator writes to both files


@dataclass
class Pipeline:
    """The bot's files, the topics and the tables of one MRF."""

    services: Services
    data: Path
    bootstrap: str
    dsn: str
    warehouse: "psycopg.Connection[tuple[object, ...]]"
    mrf: str = "mrf1"

    def backfill(self, rows: int) -> Run:
        """Create topics, tables and files, and cut actions.db to exactly `rows` rows."""
        wanted = int(rows * _ROWS_PER_ACTION) + 1_000
        command = ("crmbot-generator", "backfill", "--rows", str(wanted), "--seed", "1")
        run = measured(self.services, self._environment(), *command, rows=wanted)
        self._change_file("DELETE FROM actions WHERE transaction_id > ?", rows)
        if self.newest("actions") != rows:
            raise BenchError(f"the generator wrote fewer than {rows} actions")
        self.services.run(self._environment(), "crmbot-producer", "topics")
        self.services.run(self._environment(), "crmbot-consumer", "migrate")
        return run

    def move_to(self, mrf: str) -> None:
        """Give actions.db to another MRF under a new identity, of which no row has been sent."""
        self.mrf = mrf
        self._change_file("UPDATE source SET mrf = ?, source_id = ?", mrf, str(uuid4()))
        self.services.run(self._environment(), "crmbot-producer", "topics")

    def newest(self, stream: str) -> int:
        """Return the newest transaction_id of a file, which equals its number of rows."""
        with closing(sqlite3.connect(self.data / f"{stream}.db")) as file:
            return int(file.execute(f"SELECT max(transaction_id) FROM {stream}").fetchone()[0])

    def produce(self, stream: str) -> Run:
        """Send all rows of a file, until the record of the last row is committed."""
        newest = self.newest(stream)
        state = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bench"})
        partition = TopicPartition(STATE_TOPIC, 0)
        partition.offset = state.get_watermark_offsets(partition)[1]
        state.assign([partition])

        def is_sent() -> bool:
            while (message := state.poll(0)) is not None:
                if message.error() is not None:
                    raise BenchError(f"{STATE_TOPIC} cannot be read: {message.error()}")
                if json.loads(message.value() or b"{}").get("transaction_id") == newest:
                    return True
            return False

        command = ("crmbot-producer", "run")
        with closing(state):
            return measured(
                self.services,
                self._environment(stream),
                *command,
                rows=newest,
                is_done=is_sent,
                begins_with="sending",
            )

    def consume(self, stream: str, rows: int) -> Run:
        """Load a topic of `rows` rows into its emptied table, until the ledger covers all of them."""
        topic = stream_named(stream).topic(self.mrf)
        self.empty(topic)
        self.warehouse.execute("DELETE FROM crm_bot_ledger WHERE topic = %s", (topic,))
        query = "SELECT sum(rows_loaded) FROM crm_bot_ledger WHERE topic = %s"
        run = measured(
            self.services,
            self._environment(stream),
            *("crmbot-consumer", "run"),
            rows=rows,
            is_done=lambda: self.warehouse.execute(query, (topic,)).fetchone() == (rows,),
            begins_with="assigned",
        )
        self.check_row_count(topic, rows)
        return run

    def export(self, folder: Path, rows: int) -> Run:
        """Export both workbooks."""
        environment = self._environment() | {"OUTPUT_DIR": str(folder)}
        return measured(self.services, environment, "crmbot-exporter", "export", rows=rows)

    def audit(self) -> Run:
        """Compare both files with the tables; raises DevstackError if they differ."""
        rows = self.newest("actions") + self.newest("nature")
        return measured(self.services, self._environment(), "crmbot-producer", "audit", rows=rows)

    def empty(self, table: str) -> None:
        """Truncate a table, and run a checkpoint so that none falls into the next load."""
        self.warehouse.execute(f"TRUNCATE {table}".encode())
        self.warehouse.execute("CHECKPOINT")

    def check_row_count(self, table: str, rows: int) -> None:
        """Raise BenchError unless a table has exactly `rows` rows."""
        found = self.warehouse.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        if found != (rows,):
            raise BenchError(f"{table} has {found} rows, not {rows}: the measurement is invalid")

    def _change_file(self, statement: str, *parameters: object) -> None:
        with closing(sqlite3.connect(self.data / "actions.db")) as file, file:
            file.execute(statement, parameters)

    def _environment(self, stream: str = "") -> dict[str, str]:
        return {"MRF": self.mrf, "STREAM": stream, "DATA_DIR": str(self.data)}
