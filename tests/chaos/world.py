"""The road under torture: broker and warehouse behind proxies, the bots, and all services."""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from devstack import Kafka, Postgres
from devstack.ports import free_port
from tests.chaos.history import History
from tests.chaos.proxy import Proxy
from tests.chaos.services import Crew, Member

STREAMS = ("actions", "nature")
PARTITIONS = 3
_BACKLOG_ROWS = 6_000
_BOT_ROWS_PER_SECOND = 60
# Small pages and batches: many transactions, so that a fault falls into every part of one.
_SETTINGS = {
    "PARTITIONS": str(PARTITIONS),
    "REPLICATION_FACTOR": "1",
    "HTTP_PORT": "0",
    "PAGE_ROWS": "300",
    "BATCH_ROWS": "500",
    "BATCH_SECONDS": "0.1",
    "DRAIN_SECONDS": "5",
}


@dataclass
class World:
    """What the nemesis may lay hands on."""

    folder: Path
    mrfs: Sequence[str]
    kafka: Kafka
    postgres: Postgres
    to_kafka: Proxy
    to_warehouse: Proxy
    crew: Crew
    history: History

    @property
    def topics(self) -> list[str]:
        return [f"crm_bot_{stream}_{mrf}" for mrf in self.mrfs for stream in STREAMS]

    def file(self, topic: str) -> Path:
        """Return the bot's file that feeds a topic."""
        _, _, stream, mrf = topic.split("_")
        return self.folder / mrf / f"{stream}.db"

    def consumer(self, topic: str) -> Member:
        """Start one more consumer of a topic."""
        _, _, stream, mrf = topic.split("_")
        return self.crew.hire(
            f"consumer-{mrf}-{stream}", {"MRF": mrf, "STREAM": stream}, "crmbot-consumer", "run"
        )

    def is_loading(self, member: Member) -> bool:
        """Tell whether a consumer has a transaction open in the warehouse."""
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND xact_start IS NOT NULL"
        with psycopg.connect(self.postgres.dsn) as connection:
            return connection.execute(query, (member.name,)).fetchone() is not None

    def start(self) -> None:
        """Make topics, tables and backlogs, and start every service."""
        for mrf in self.mrfs:
            bot = {"MRF": mrf, "DATA_DIR": str(self.folder / mrf)}
            self.crew.run(bot, "crmbot-producer", "topics")
            self.crew.run(bot, "crmbot-consumer", "migrate")
            self.crew.run(bot, "crmbot-generator", "backfill", "--rows", str(_BACKLOG_ROWS))
            rate = str(_BOT_ROWS_PER_SECOND)
            self.crew.hire(f"bot-{mrf}", bot, "crmbot-generator", "live", "--rate", rate)
            for stream in STREAMS:
                self.crew.hire(f"producer-{mrf}-{stream}", bot | {"STREAM": stream}, "crmbot-producer", "run")
        for topic in self.topics:
            for _ in range(2 if "actions" in topic else 1):
                self.consumer(topic)

    def drain(self, seconds: float) -> bool:
        """End the bots, then wait until every row of their files is accounted for; False if it never is."""
        for bot in self.crew["bot"]:
            self.crew.retire(bot)
        deadline = time.monotonic() + seconds
        while not all(self._is_loaded(topic) for topic in self.topics):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def _is_loaded(self, topic: str) -> bool:
        stream = topic.split("_")[2]
        with closing(sqlite3.connect(self.file(topic))) as file:
            rows = {row[0] for row in file.execute(f"SELECT event_id FROM {stream}")}
        with psycopg.connect(self.postgres.dsn) as connection:
            found = {str(row[0]) for row in connection.execute(f"SELECT event_id FROM {topic}".encode())}
        return rows <= found


@contextmanager
def world(folder: Path, mrfs: Sequence[str], history: History, changes: Mapping[str, str]) -> Iterator[World]:
    """Start broker, warehouse and proxies; end all afterwards. `changes` go to the services' environment."""
    ports = [free_port() for _ in range(4)]
    broker, behind, controller, proxied = ports
    listeners = f"PLAINTEXT://127.0.0.1:{broker},PROXIED://127.0.0.1:{behind}"
    settings = {
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker},PROXIED://127.0.0.1:{proxied}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
    }
    with (
        Kafka(folder / "kafka", port=broker, settings=settings) as kafka,
        Postgres(folder / "postgres", tcp=True) as postgres,
    ):
        to_kafka = Proxy(behind, proxied)
        to_warehouse = Proxy(postgres.port, free_port())
        to_kafka.start()
        to_warehouse.start()
        dsn = make_conninfo(postgres.dsn, port=to_warehouse.port)
        environment = _SETTINGS | {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{proxied}",
            "WAREHOUSE_DSN": dsn,
            **changes,
        }
        crew = Crew(folder, environment, history)
        try:
            yield World(folder, mrfs, kafka, postgres, to_kafka, to_warehouse, crew, history)
        finally:
            crew.dismiss()
            to_kafka.close()
            to_warehouse.close()
