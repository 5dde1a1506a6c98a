"""The system under test: broker and warehouse behind proxies, the bots, and all services."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from confluent_kafka.admin import AdminClient
from psycopg.conninfo import make_conninfo

from devstack import Kafka, Postgres
from devstack.kafka import consumer_variables
from devstack.ports import free_port
from devstack.services import Service
from tests.chaos.bot_file import copy_file
from tests.chaos.disk import Disk
from tests.chaos.history import History
from tests.chaos.losses import Losses
from tests.chaos.messages import committed_messages
from tests.chaos.proxy import Proxy
from tests.chaos.supervisor import Supervisor
from tests.chaos.warehouse import Warehouse

STREAMS = ("actions", "nature")
PARTITIONS = 3  # at the start
REBALANCE_SECONDS = 5.0
_SESSION_MILLISECONDS = 3_000
_WAREHOUSE_MEGABYTES = 768
_WORKBOOK_MEGABYTES = 64
_BACKLOG = ("--rows", "6000", "--days", "90", "--until", "2016-01-01")
# The bot's world has begun long ago and goes fast: 60 rows a second, most of them of existing leads.
_BOT = ("--rows-per-day", "67", "--speedup", "77760", "--since", "2016-01-01")
# Small pages and batches make many transactions, so that faults hit every phase of one.
_SETTINGS = {
    "PARTITIONS": str(PARTITIONS),
    "REPLICATION_FACTOR": "1",
    "HTTP_PORT": "0",
    "PAGE_ROWS": "300",
    "POLL_SECONDS": "0.5",
    "BATCH_ROWS": "500",
    "BATCH_SECONDS": "0.3",
    "DRAIN_SECONDS": "5",
}


@dataclass
class World:
    """Everything that faults can reach."""

    folder: Path
    mrfs: Sequence[str]
    kafka: Kafka
    postgres: Postgres
    to_kafka: Proxy
    to_warehouse: Proxy
    warehouse_disk: Disk
    workbook_disk: Disk
    services: Supervisor
    history: History
    losses: defaultdict[str, Losses] = field(default_factory=lambda: defaultdict(Losses))
    copies: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    partitions: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: PARTITIONS))
    findings: list[str] = field(default_factory=list)

    @property
    def topics(self) -> list[str]:
        return [f"crm_bot_{stream}_{mrf}" for mrf in self.mrfs for stream in STREAMS]

    def file(self, topic: str) -> Path:
        """Return the bot's file that feeds a topic."""
        stream, mrf = stream_and_mrf(topic)
        return self.folder / mrf / f"{stream}.db"

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers, "log_level": 0})

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.postgres.dsn)

    def add_finding(self, finding: str) -> None:
        """Record a violation that a fault has found."""
        self.history.add("finding", what=finding)
        self.findings.append(finding)

    def operator_environment(self, topic: str) -> dict[str, str]:
        """Return the environment of an operator's commands for a topic."""
        _, mrf = stream_and_mrf(topic)
        return {"MRF": mrf, "DATA_DIR": str(self.folder / mrf), "PARTITIONS": str(self.partitions[mrf])}

    def producer(self, topic: str) -> Service:
        """Return the topic's producer."""
        stream, mrf = stream_and_mrf(topic)
        (producer,) = self.services[f"producer-{mrf}-{stream}"]
        return producer

    def start_consumer(self, topic: str, **settings: str) -> Service:
        """Start one more consumer of a topic, with these settings."""
        stream, mrf = stream_and_mrf(topic)
        environment = {"MRF": mrf, "STREAM": stream, **settings}
        return self.services.start(f"consumer-{mrf}-{stream}", environment, "crmbot-consumer", "run")

    def consumers(self, topic: str) -> list[Service]:
        """Return the topic's consumers."""
        stream, mrf = stream_and_mrf(topic)
        return self.services[f"consumer-{mrf}-{stream}"]

    def back_up(self, topic: str) -> None:
        """Copy a bot's file, for a fault that restores it later."""
        number = len(self.copies[topic])
        copy = self.file(topic).with_suffix(f".copy{number}")
        copy_file(self.file(topic), copy)
        self.copies[topic].append(copy)

    def sent_ids(self, topic: str, source_id: str) -> set[int]:
        """Return the transaction_ids of one source that the bot's producer has sent, in all logs."""
        current = committed_messages(topic, self.kafka.bootstrap_servers)
        logs = [current, *(log.messages for log in self.losses[topic].logs)]
        fields = (m.fields for log in logs for m in log.values() if not m.is_foreign)
        return {row["transaction_id"] for row in fields if row["source_id"] == source_id}

    def has_messages(self, topic: str) -> bool:
        """Return whether a topic has committed messages."""
        return bool(committed_messages(topic, self.kafka.bootstrap_servers))

    def partition_count(self, topic: str) -> int:
        """Return the current number of partitions of a topic."""
        return len(self.admin.list_topics(topic, timeout=30).topics[topic].partitions)

    def start(self) -> None:
        """Create topics, tables and backlogs, and start every service."""
        for mrf in self.mrfs:
            bot = {"MRF": mrf, "DATA_DIR": str(self.folder / mrf)}
            self.services.run(bot, "crmbot-producer", "topics")
            self.services.run(bot, "crmbot-consumer", "migrate")
            self.services.run(bot, "crmbot-generator", "backfill", *_BACKLOG)
            self.services.start(f"bot-{mrf}", bot, "crmbot-generator", "live", *_BOT)
            for stream in STREAMS:
                self.services.start(
                    f"producer-{mrf}-{stream}", bot | {"STREAM": stream}, "crmbot-producer", "run"
                )
        for topic in self.topics:
            for _ in range(2 if "actions" in topic else 1):
                self.start_consumer(topic)


def stream_and_mrf(topic: str) -> tuple[str, str]:
    """Return the stream and the MRF of a topic, from its name."""
    _, _, stream, mrf = topic.split("_")
    return stream, mrf


@contextmanager
def world(folder: Path, mrfs: Sequence[str], history: History, changes: Mapping[str, str]) -> Iterator[World]:
    """Start broker, warehouse and proxies, and stop them afterwards.

    `changes` are added to the services' environment.
    """
    ports = [free_port() for _ in range(4)]
    broker, backend, controller, proxied = ports
    listeners = f"PLAINTEXT://127.0.0.1:{broker},PROXIED://127.0.0.1:{backend}"
    settings = {
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker},PROXIED://127.0.0.1:{proxied}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "group.consumer.min.session.timeout.ms": str(_SESSION_MILLISECONDS),
        "group.consumer.session.timeout.ms": str(_SESSION_MILLISECONDS),
        "message.max.bytes": "10000000",  # foreign messages may exceed the producer's limit
    }
    with ExitStack() as stack:
        disk = stack.enter_context(closing(Disk(folder / "postgres", _WAREHOUSE_MEGABYTES)))
        workbook_disk = stack.enter_context(closing(Disk(folder / "workbooks", _WORKBOOK_MEGABYTES)))
        kafka = stack.enter_context(Kafka(folder / "kafka", port=broker, settings=settings))
        log_settings = {"max_wal_size": "128MB", "min_wal_size": "32MB"}
        postgres = stack.enter_context(Postgres(folder / "postgres", tcp=True, settings=log_settings))
        to_kafka = stack.enter_context(closing(Proxy(backend, proxied)))
        to_warehouse = stack.enter_context(closing(Proxy(postgres.port, free_port())))
        to_kafka.start()
        to_warehouse.start()
        environment = _SETTINGS | {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{proxied}",
            "WAREHOUSE_DSN": make_conninfo(postgres.dsn, port=to_warehouse.port),
            **consumer_variables(_SESSION_MILLISECONDS),
            **changes,
        }
        services = Supervisor(folder, environment, history)
        stack.callback(services.stop_all)
        yield World(
            folder, mrfs, kafka, postgres, to_kafka, to_warehouse, disk, workbook_disk, services, history
        )
