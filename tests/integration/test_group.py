"""The classic and the consumer group protocol, and consumers that are not admitted to the group."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from crmbot_consumer.group import group_id
from crmbot_consumer.kafka import Subscription
from crmbot_core.contracts import ACTIONS
from crmbot_core.errors import TransientError
from crmbot_core.ledger import Position
from devstack import Kafka, Postgres
from devstack.kafka import HAS_KIP_848, consumer_variables
from devstack.services import Service
from tests.integration.pipeline import Pipeline, wait_until


def protocol(consumer: Service) -> str:
    wait_until(lambda: consumer.logged("joining"), "the consumer joins")
    return str(next(event["protocol"] for event in consumer.events if event["event"] == "joining"))


def is_ready(consumer: Service) -> bool:
    return consumer.get("/readyz")[0] == 200


@pytest.fixture(scope="module")
def classic_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker without KIP-848, as all are before 4.0."""
    settings = {"group.coordinator.rebalance.protocols": "classic"} if HAS_KIP_848 else {}
    with Kafka(tmp_path_factory.mktemp("classic"), settings=settings) as server:
        yield server


@pytest.fixture
def classic_pipeline(classic_kafka: Kafka, postgres: Postgres, tmp_path: Path) -> Iterator[Pipeline]:
    pipeline = Pipeline("mrf998", tmp_path, classic_kafka.bootstrap_servers, postgres.dsn).set_up()
    try:
        yield pipeline
    finally:
        pipeline.close()


def test_the_broker_determines_the_protocol(pipeline: Pipeline) -> None:
    assert protocol(pipeline.consume("actions")) == ("consumer" if HAS_KIP_848 else "classic")


@pytest.mark.parametrize(
    "settings", [{"KAFKA_GROUP_PROTOCOL": "Classic"}, {"KAFKA_SESSION_TIMEOUT_MS": "10000"}]
)
def test_settings_override_the_protocol(pipeline: Pipeline, settings: dict[str, str]) -> None:
    assert protocol(pipeline.consume("actions", **settings)) == "classic"


def test_consumers_of_the_classic_protocol_share_the_partitions(pipeline: Pipeline) -> None:
    pipeline.extra["KAFKA_GROUP_PROTOCOL"] = "classic"
    pipeline.backfill(1_000)
    consumers = [pipeline.consume("actions") for _ in range(4)]
    wait_until(lambda: all(map(is_ready, consumers)), "all are members of the group, one on standby")
    producer = pipeline.produce("actions")
    pipeline.wait_for_all("actions")
    consumers.pop(0).kill()
    before = pipeline.in_file("actions")
    bot = pipeline.start("crmbot-generator", "load", "--rate", "100")
    wait_until(lambda: pipeline.in_file("actions") > before + 100, "the bot has written more rows")
    assert bot.terminate() == 0
    pipeline.wait_for_all("actions", 90)
    assert producer.terminate() == 0
    assert [consumer.terminate() for consumer in consumers] == [0, 0, 0]
    rows = pipeline.in_file("actions")
    assert pipeline.query("SELECT count(*), count(DISTINCT event_id) FROM {actions}") == [(rows, rows)]


class FailingListener:
    """Fails on every assignment, as when the warehouse is down."""

    def __init__(self) -> None:
        self.assigned: list[int] = []

    def resume_positions(self, partitions: Sequence[int]) -> dict[int, Position]:
        self.assigned += partitions
        raise TransientError("the warehouse is down")

    def on_assigned(self, positions: Mapping[int, Position]) -> None: ...

    def on_revoked(self, partitions: Sequence[int]) -> None: ...


@pytest.mark.parametrize("settings", [{}, {"group.protocol": "classic"}], ids=["broker's", "classic"])
def test_partitions_assigned_to_a_closing_consumer_are_declined(
    pipeline: Pipeline, settings: dict[str, str]
) -> None:
    kafka, topic = {"bootstrap.servers": pipeline.bootstrap}, ACTIONS.topic(pipeline.mrf)
    admin, group = AdminClient({**kafka}), group_id(topic)

    def has_partitions() -> bool:
        try:
            members = admin.describe_consumer_groups([group])[group].result().members
        except KafkaException:  # the group coordinator is not ready yet
            return False
        assignments = [member.target_assignment or member.assignment for member in members]
        return any(assignment and assignment.topic_partitions for assignment in assignments)

    listener = FailingListener()
    for _ in range(3):  # each member leaves the group, so the next one is assigned all partitions
        subscription = Subscription(
            kafka | settings, topic, listener, structlog.get_logger(), poll_seconds=300, close_seconds=30
        )
        wait_until(has_partitions, "the group has assigned the partitions")
        subscription.close()
        wait_until(lambda: not has_partitions(), "the consumer has left the group")
    assert listener.assigned == []


def test_a_consumer_not_admitted_to_the_group_says_why_and_is_not_ready(classic_pipeline: Pipeline) -> None:
    classic_pipeline.backfill(100)
    classic_pipeline.send_all()
    only_classic = dict.fromkeys(consumer_variables(), "")
    lost = classic_pipeline.consume("actions", KAFKA_GROUP_PROTOCOL="consumer", **only_classic)
    wait_until(lambda: lost.logged("not admitted to the group"), "the consumer logs the reason", 90)
    assert lost.logged("KAFKA_GROUP_PROTOCOL=classic works with every broker")
    status, reason = lost.get("/readyz")
    assert (status, "not admitted" in reason) == (503, True)
    assert protocol(classic_pipeline.consume("actions")) == "classic"
    classic_pipeline.wait_for_all("actions")
