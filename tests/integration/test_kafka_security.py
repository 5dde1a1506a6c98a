"""A broker with SASL_SSL, client certificates and ACLs that grant the rights of docs/install.md."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from devstack import Postgres
from devstack.certificates import Authority
from devstack.secured_kafka import SecuredKafka
from devstack.services import Service
from tests.integration.pipeline import Pipeline, wait_until
from tests.integration.secured import grant, mtls, revoke, rights, sasl, set_password

_NUMBERS = itertools.count(900)
_PASSWORD = "correct horse battery staple"
_USER = "crm_bot"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SecuredKafka]:
    """A broker on which the user has all documented rights, with a password and with a certificate."""
    with SecuredKafka(tmp_path_factory.mktemp("secured"), authority) as kafka:
        set_password(kafka, _USER, _PASSWORD)
        grant(kafka, _USER, *rights())
        yield kafka


@pytest.fixture
def pipeline(
    secured: SecuredKafka, authority: Authority, postgres: Postgres, tmp_path: Path
) -> Iterator[Pipeline]:
    """An MRF whose services use a password, without topics and tables."""
    variables = sasl(secured, authority, _USER, _PASSWORD)
    pipeline = Pipeline(f"mrf{next(_NUMBERS)}", tmp_path, secured.bootstrap_servers, postgres.dsn, variables)
    try:
        yield pipeline
    finally:
        pipeline.close()


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SSL"])
def test_every_command_works_with_the_documented_rights(
    pipeline: Pipeline, secured: SecuredKafka, authority: Authority, protocol: str
) -> None:
    if protocol == "SSL":
        certificate = authority.issue(_USER)
        pipeline.extra = mtls(secured, authority, certificate) | {
            "KAFKA_SSL_CERTIFICATE_LOCATION": "",  # the PEM variables replace the files, as with a Secret
            "KAFKA_SSL_KEY_LOCATION": "",
            "KAFKA_SSL_CERTIFICATE_PEM": certificate.chain.read_text(),
            "KAFKA_SSL_KEY_PEM": certificate.key.read_text(),
        }
    pipeline.set_up()
    pipeline.backfill(1_000)
    running = [
        pipeline.produce("actions"),
        pipeline.produce("nature"),
        pipeline.consume("actions"),
        pipeline.consume("nature"),
    ]
    pipeline.wait_for_all("actions")
    pipeline.wait_for_all("nature")
    assert [service.terminate() for service in running] == [0, 0, 0, 0]

    pipeline.extra["PARTITIONS"] = "4"
    pipeline.check_output("crmbot-producer", "topics")
    pipeline.check_output("crmbot-producer", "repartition", "--stream", "actions")
    pipeline.check_output("crmbot-producer", "resend", "--stream", "nature")
    pipeline.recreate(f"crm_bot_actions_{pipeline.mrf}")
    pipeline.check_output("crmbot-consumer", "adopt-topic", "--stream", "actions")
    pipeline.check_output("crmbot-producer", "resend", "--stream", "actions")
    pipeline.check_output("crmbot-generator", "load", "--rate", "200", "--seconds", "1")
    running = [
        pipeline.produce("actions"),
        pipeline.produce("nature"),
        pipeline.consume("actions"),
        pipeline.consume("nature"),
    ]
    assert pipeline.audit(wait=60)["clean"]
    assert [service.terminate() for service in running] == [0, 0, 0, 0]


def produce(pipeline: Pipeline) -> Service:
    return pipeline.produce("actions")


def consume(pipeline: Pipeline) -> Service:
    return pipeline.consume("actions")


def make_topics(pipeline: Pipeline) -> Service:
    return pipeline.start("crmbot-producer", "topics")


def make_topics_of_another_mrf(pipeline: Pipeline) -> Service:
    return pipeline.start("crmbot-producer", "topics", MRF=f"mrf{next(_NUMBERS)}")


def add_partitions(pipeline: Pipeline) -> Service:
    return pipeline.start("crmbot-producer", "topics", PARTITIONS="5")


def make_topics_after_compaction_was_enabled(pipeline: Pipeline) -> Service:
    change = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, f"crm_bot_nature_{pipeline.mrf}", incremental_configs=[change])
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    (answer,) = admin.incremental_alter_configs([topic]).values()
    answer.result(30)
    return make_topics(pipeline)


# The revoked operations (AlterConfigs implies DescribeConfigs), a command that needs them, and its message.
NEEDED = [
    (("topic", "Read"), consume, "Read on topic crm_bot_actions_"),
    (("topic", "Read"), produce, "Read on topic crm_bot_"),
    (("topic", "Write"), produce, "Write on topics crm_bot_actions_"),
    (("topic", "DescribeConfigs", "AlterConfigs"), consume, "DescribeConfigs on topic crm_bot_actions_"),
    (
        ("topic", "DescribeConfigs", "AlterConfigs"),
        produce,
        "DescribeConfigs on topic crm_bot_producer_state",
    ),
    (("topic", "Create"), make_topics_of_another_mrf, "Create on topic crm_bot_"),
    (("topic", "Alter"), add_partitions, "Alter on topic crm_bot_"),
    (
        ("topic", "AlterConfigs"),
        make_topics_after_compaction_was_enabled,
        "AlterConfigs on topic crm_bot_nature_",
    ),
    (("group", "Read"), consume, "Read on the consumer group"),
    (("transactional id", "Write"), produce, "Write on the transactional id"),
]


@pytest.mark.parametrize(("missing", "command", "words"), NEEDED)
def test_a_missing_right_is_named(
    pipeline: Pipeline,
    secured: SecuredKafka,
    missing: tuple[str, ...],
    command: Callable[[Pipeline], Service],
    words: str,
) -> None:
    pipeline.set_up()
    pipeline.backfill(100)
    if command is produce and "Read" in missing:
        pipeline.send_all()  # so that there is something to read
    taken = [right for right in rights() if right.resource == missing[0] and right.operation in missing[1:]]
    for right in taken:
        revoke(secured, _USER, right)
    try:
        service = command(pipeline)
        assert service.exit_code() == 2
    finally:
        grant(secured, _USER, *taken)
    assert f"its user needs the right {words}" in service.last_line


def test_every_documented_right_is_needed_by_a_command() -> None:
    revoked = {(resource, operation) for (resource, *operations), _, _ in NEEDED for operation in operations}
    needed = {(right.resource, right.operation) for right in rights()}
    assert needed - revoked == {("cluster", "DescribeConfigs")}, (
        "without it consumers use the classic protocol"
    )


def test_without_rights_on_the_cluster_consumers_use_the_classic_protocol(
    pipeline: Pipeline, secured: SecuredKafka
) -> None:
    pipeline.set_up()
    (right,) = (right for right in rights() if right.resource == "cluster")
    revoke(secured, _USER, right)
    try:
        consumer = pipeline.consume("actions")
        wait_until(lambda: consumer.get("/readyz")[0] == 200, "the consumer is a member of the group")
    finally:
        grant(secured, _USER, right)
    assert '"protocol": "classic"' in consumer.log.read_text()


def test_a_right_revoked_from_running_services_is_named(pipeline: Pipeline, secured: SecuredKafka) -> None:
    pipeline.set_up()
    pipeline.backfill(100)
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    taken = [
        right for right in rights() if right.resource == "topic" and right.operation in ("Read", "Write")
    ]
    for right in taken:
        revoke(secured, _USER, right)
    try:
        pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
        assert [producer.exit_code(), consumer.exit_code()] == [2, 2]
    finally:
        grant(secured, _USER, *taken)
    assert "needs the right Write on topics" in producer.last_line
    assert "needs the right Read on topic" in consumer.last_line


def test_a_password_changed_while_services_run(
    pipeline: Pipeline, secured: SecuredKafka, authority: Authority
) -> None:
    """Open connections keep working; a service that reconnects with the old password exits with 2."""
    user = "rotated"
    grant(secured, user, *rights())
    set_password(secured, user, "first")
    pipeline.extra = sasl(secured, authority, user, "first") | {"STUCK_MINUTES": "0.5"}
    pipeline.set_up()
    pipeline.backfill(100)
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    set_password(secured, user, "second")
    assert consumer.exit_code() == 2, "an idle consumer reconnects from time to time"
    assert "check KAFKA_SASL_USERNAME" in consumer.last_line
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    wait_until(lambda: pipeline.has_sent_all(producer), "the producer keeps sending")
    secured.stop()
    secured.start()
    pipeline.check_output("crmbot-generator", "load", "--rate", "100", "--seconds", "1")
    assert producer.exit_code(120) == 2
    assert "check KAFKA_SASL_USERNAME" in producer.last_line
    pipeline.extra = sasl(secured, authority, user, "second")
    producer, consumer = pipeline.produce("actions"), pipeline.consume("actions")
    pipeline.wait_for_all("actions")
    assert pipeline.query("SELECT count(DISTINCT event_id) FROM {actions}") == [
        (pipeline.in_file("actions"),)
    ]


REFUSED = {
    "a wrong password": "invalid credentials",
    "an unknown user": "invalid credentials",
    "another mechanism": "supported mechanisms: SCRAM-SHA-512",
    "an authority that did not sign the broker's certificate": "certificate verify failed",
    "a name that is not in the broker's certificate": "certificate verify failed",
    "a missing file": "KAFKA_SSL_CA_LOCATION: '/nowhere/ca.pem' is not there",
    "a certificate that has expired": "does not take the client's certificate",
    "a certificate of another authority": "does not take the client's certificate",
    "no certificate": "does not take the client's certificate",
    "the key of another certificate": "KAFKA_SSL_KEY_LOCATION",
}


@pytest.mark.parametrize("flaw", REFUSED)
def test_a_client_refused_by_the_broker_exits_with_one_line(
    pipeline: Pipeline, secured: SecuredKafka, authority: Authority, tmp_path: Path, flaw: str
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    password = sasl(secured, authority, _USER, _PASSWORD)
    certificate = mtls(secured, authority, authority.issue(_USER))
    pipeline.extra = {
        "a wrong password": password | {"KAFKA_SASL_PASSWORD": "wrong"},
        "an unknown user": password | {"KAFKA_SASL_USERNAME": "nobody"},
        "another mechanism": password | {"KAFKA_SASL_MECHANISM": "PLAIN"},
        "an authority that did not sign the broker's certificate": password
        | {"KAFKA_SSL_CA_LOCATION": str(other.ca)},
        "a name that is not in the broker's certificate": password
        | {"KAFKA_BOOTSTRAP_SERVERS": secured.sasl_servers.replace("127.0.0.1", "localhost")},
        "a missing file": password | {"KAFKA_SSL_CA_LOCATION": "/nowhere/ca.pem"},
        "a certificate that has expired": mtls(secured, authority, authority.issue("late", has_expired=True)),
        "a certificate of another authority": mtls(secured, authority, other.issue(_USER)),
        "no certificate": certificate | {"KAFKA_SSL_CERTIFICATE_LOCATION": "", "KAFKA_SSL_KEY_LOCATION": ""},
        "the key of another certificate": certificate
        | {"KAFKA_SSL_KEY_LOCATION": str(other.issue(_USER).key)},
    }[flaw]
    pipeline.check_output("crmbot-consumer", "migrate")
    pipeline.check_output("crmbot-generator", "backfill", "--rows", "10")
    services = [make_topics(pipeline), produce(pipeline), consume(pipeline)]
    assert [service.exit_code() for service in services] == [2, 2, 2]
    for service in services:
        assert REFUSED[flaw] in service.last_line
        assert _PASSWORD not in service.log.read_text()
    assert services[0].log.read_text().count("\n") == 1
