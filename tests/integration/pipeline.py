"""The pipeline of one MRF under test: its files, topics and tables, and its services as processes."""

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient

from devstack.kafka import consumer_variables
from devstack.services import Service, run_command

_COMMAND_SECONDS = 120
_DAYS, _UNTIL = 60, "2016-01-01"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until the condition holds; fail with `what` after a timeout."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@dataclass
class Pipeline:
    """One MRF, from the bot's files to the tables."""

    mrf: str
    folder: Path
    bootstrap: str
    dsn: str
    extra: dict[str, str] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the services' settings."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "WAREHOUSE_DSN": self.dsn,
            "MRF": self.mrf,
            "DATA_DIR": str(self.data),
            "SEED": "1",
            "HTTP_PORT": "0",
            "PARTITIONS": "3",
            "REPLICATION_FACTOR": "1",
            "BATCH_SECONDS": "0.3",
            **consumer_variables(),
            **self.extra,
            **extra,
        }

    def run(self, *command: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        """Run a command and wait for it, whatever its exit code."""
        return run_command(self.environment(**extra), *command, timeout=_COMMAND_SECONDS)

    def check_output(self, *command: str, **extra: str) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.run(*command, **extra)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *command: str, **extra: str) -> Service:
        """Start a service, which runs until `close`."""
        name = f"{len(self.services)}-{'-'.join(command[:2])}"
        log = self.folder / f"{name}.log"
        self.services.append(Service.start(name, self.environment(**extra), log, *command))
        return self.services[-1]

    def produce(self, stream: str, **extra: str) -> Service:
        return self.start("crmbot-producer", "run", "--stream", stream, **extra)

    def consume(self, stream: str, **extra: str) -> Service:
        return self.start("crmbot-consumer", "run", "--stream", stream, **extra)

    def set_up(self) -> "Pipeline":
        self.check_output("crmbot-producer", "topics")
        self.check_output("crmbot-consumer", "migrate")
        return self

    def backfill(self, rows: int, **extra: str) -> None:
        """Make a bot with 60 days of work that ended long ago, so that `run_bot` has time to go on."""
        command = (
            "crmbot-generator",
            "backfill",
            "--rows",
            str(rows),
            "--days",
            str(_DAYS),
            "--until",
            _UNTIL,
        )
        self.check_output(*command, **extra)

    def run_bot(self, seconds: float = 1.0) -> None:
        """Let the bot go on, a month in a second: with half the backfill's rows, most of known leads."""
        speedup = str(_DAYS / 2 * 86_400)
        self.check_output("crmbot-generator", "live", "--speedup", speedup, "--seconds", str(seconds))

    def in_file(self, stream: str) -> int:
        with sqlite3.connect(f"file:{self.data / stream}.db?mode=ro", uri=True) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {stream}").fetchone()[0])

    def query(self, statement: str, *parameters: object) -> list[Any]:
        """Run SQL in the warehouse; `{actions}` and `{nature}` stand for the MRF's tables."""
        text = statement.format(actions=f"crm_bot_actions_{self.mrf}", nature=f"crm_bot_nature_{self.mrf}")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(text.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def in_warehouse(self, stream: str) -> int:
        return int(self.query(f"SELECT count(*) FROM {{{stream}}}")[0][0])

    def wait_for_all(self, stream: str, seconds: float = 60) -> None:
        rows = self.in_file(stream)
        wait_until(
            lambda: self.in_warehouse(stream) >= rows,
            f"{rows} rows of {stream} are in the warehouse",
            seconds,
        )

    def has_sent_all(self, producer: Service) -> bool:
        """Return whether a producer of the actions has sent the file's newest row."""
        labels = f'{{mrf="{self.mrf}",stream="actions"}}'
        with closing(sqlite3.connect(f"file:{self.data / 'actions.db'}?mode=ro", uri=True)) as connection:
            ((newest,),) = connection.execute("SELECT coalesce(max(transaction_id), 0) FROM actions")
        sent = f"crmbot_producer_last_transaction_id{labels} {newest:.1f}"
        return sent in producer.get("/metrics")[1]

    def send_all(self) -> None:
        """Run a producer until it has sent all actions."""
        producer = self.produce("actions")
        wait_until(lambda: self.has_sent_all(producer), "all rows are sent")
        assert producer.terminate() == 0

    def back_up(self, name: str = "backup.db") -> Path:
        """Copy actions.db by SQLite's online backup, and return the copy's path."""
        backup = self.folder / name
        with (
            closing(sqlite3.connect(self.data / "actions.db")) as source,
            closing(sqlite3.connect(backup)) as target,
        ):
            source.backup(target)
        return backup

    def restore(self, backup: Path) -> None:
        """Replace actions.db with a copy."""
        for name in ("actions.db-wal", "actions.db-shm"):
            (self.data / name).unlink(missing_ok=True)
        shutil.copy(backup, self.data / "actions.db")

    def recreate(self, *topics: str) -> None:
        """Delete topics and create them again."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for deletion in admin.delete_topics(list(topics)).values():
            deletion.result(30)
        wait_until(
            lambda: not admin.list_topics(timeout=10).topics.keys() & set(topics), "the topics are deleted"
        )
        self.check_output("crmbot-producer", "topics")

    def order_resend(self, topic: str) -> None:
        """Record what `resend` does after `adopt-topic`, for messages that no bot's file has."""
        self.query(
            "INSERT INTO crm_bot_resends (topic, kafka_partition, log_epoch, source_id, up_to_offset) "
            "SELECT topic, kafka_partition, max(log_epoch), gen_random_uuid(), 0 FROM crm_bot_ledger "
            "WHERE topic = %s GROUP BY topic, kafka_partition",
            topic,
        )

    def audit(self, wait: float = 30) -> dict[str, Any]:
        """Return the audit's result, after checking that the exit code agrees."""
        done = self.run("crmbot-producer", "audit", "--json", "--wait", str(wait))
        assert done.returncode in (0, 4), f"{done.returncode}: {done.stdout}{done.stderr}"
        result: dict[str, Any] = json.loads(done.stdout)
        assert result["clean"] == (done.returncode == 0)
        return result

    def close(self) -> None:
        """End the services, and print the ends of their logs, which pytest shows if the test has failed."""
        for service in self.services:
            print(service.failure)
            service.kill()
