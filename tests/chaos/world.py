"""The road under torture: broker and warehouse behind proxies, the bots, and all services."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import make_conninfo

from devstack import Kafka, Postgres
from devstack.ports import free_port
from tests.chaos.disk import Disk
from tests.chaos.evidence import Losses, Place, committed_messages
from tests.chaos.history import History
from tests.chaos.proxy import Proxy
from tests.chaos.services import Crew, Member

STREAMS = ("actions", "nature")
PARTITIONS = 3  # to begin with
LONG_ENOUGH_TO_REBALANCE = 5.0
_SESSION_MILLISECONDS = 3_000
_WAREHOUSE_MEGABYTES = 768
_WORKBOOK_MEGABYTES = 64
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
    warehouse_disk: Disk
    workbook_disk: Disk
    crew: Crew
    history: History
    losses: defaultdict[str, Losses] = field(default_factory=lambda: defaultdict(Losses))
    findings: list[str] = field(default_factory=list)

    @property
    def topics(self) -> list[str]:
        return [f"crm_bot_{stream}_{mrf}" for mrf in self.mrfs for stream in STREAMS]

    def file(self, topic: str) -> Path:
        """Return the bot's file that feeds a topic."""
        stream, mrf = stream_and_mrf(topic)
        return self.folder / mrf / f"{stream}.db"

    def find(self, finding: str) -> None:
        """Note what should not be."""
        self.history.add("finding", what=finding)
        self.findings.append(finding)

    def consumer(self, topic: str) -> Member:
        """Start one more consumer of a topic."""
        stream, mrf = stream_and_mrf(topic)
        return self.crew.hire(
            f"consumer-{mrf}-{stream}", {"MRF": mrf, "STREAM": stream}, "crmbot-consumer", "run"
        )

    def consumers(self, topic: str) -> list[Member]:
        """Return the topic's consumers."""
        stream, mrf = stream_and_mrf(topic)
        return self.crew[f"consumer-{mrf}-{stream}"]

    def is_loading(self, member: Member) -> bool:
        """Tell whether a consumer has a transaction open in the warehouse."""
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND xact_start IS NOT NULL"
        return bool(self._query(query, member.name))

    def is_loaded(self, topic: str, source_id: str, transaction_id: int) -> bool:
        """Tell whether a source of a topic is loaded up to a number."""
        query = f"SELECT 1 FROM {topic} WHERE source_id = %s AND transaction_id >= %s LIMIT 1"
        return bool(self._query(query, source_id, transaction_id))

    def ledger_ends(self, topic: str) -> dict[int, int]:
        """Return where the ledger ends, by partition."""
        query = "SELECT kafka_partition, max(end_offset) FROM crm_bot_ledger WHERE topic = %s GROUP BY 1"
        return dict(self._query(query, topic))

    def open_rejects(self, topic: str) -> list[Place]:
        """Return the rejects that were not replayed."""
        places = "SELECT kafka_partition, kafka_offset FROM {} WHERE topic = %s"
        query = f"{places.format('crm_bot_rejects')} EXCEPT {places.format('crm_bot_replays')} ORDER BY 1, 2"
        return self._query(query, topic, topic)

    def has_messages(self, topic: str) -> bool:
        """Tell whether anything is committed to a topic."""
        return bool(committed_messages(topic, self.kafka.bootstrap_servers))

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions that a topic has now."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        return len(admin.list_topics(topic, timeout=30).topics[topic].partitions)

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

    def _query(self, query: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.postgres.dsn) as connection:
            return connection.execute(query.encode(), parameters).fetchall()


def stream_and_mrf(topic: str) -> tuple[str, str]:
    """Return what a topic is named after."""
    _, _, stream, mrf = topic.split("_")
    return stream, mrf


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
        "group.consumer.min.session.timeout.ms": str(_SESSION_MILLISECONDS),
        "group.consumer.session.timeout.ms": str(_SESSION_MILLISECONDS),
        "message.max.bytes": "10000000",  # foreign messages may be larger than ours
    }
    with ExitStack() as stack:
        disk = stack.enter_context(closing(Disk(folder / "postgres", _WAREHOUSE_MEGABYTES)))
        workbook_disk = stack.enter_context(closing(Disk(folder / "workbooks", _WORKBOOK_MEGABYTES)))
        kafka = stack.enter_context(Kafka(folder / "kafka", port=broker, settings=settings))
        log_settings = {"max_wal_size": "128MB", "min_wal_size": "32MB"}
        postgres = stack.enter_context(Postgres(folder / "postgres", tcp=True, settings=log_settings))
        to_kafka = stack.enter_context(closing(Proxy(behind, proxied)))
        to_warehouse = stack.enter_context(closing(Proxy(postgres.port, free_port())))
        to_kafka.start()
        to_warehouse.start()
        environment = _SETTINGS | {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{proxied}",
            "WAREHOUSE_DSN": make_conninfo(postgres.dsn, port=to_warehouse.port),
            **changes,
        }
        crew = Crew(folder, environment, history)
        stack.callback(crew.dismiss)
        yield World(folder, mrfs, kafka, postgres, to_kafka, to_warehouse, disk, workbook_disk, crew, history)
