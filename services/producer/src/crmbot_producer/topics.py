"""Creates the topics of an MRF with the settings that the promises depend on."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from crmbot_core.contracts import STREAMS
from crmbot_core.errors import ConfigurationError, CrmBotError
from crmbot_core.kafka import ADMIN_TIMEOUT_SECONDS, STATE_TOPIC, admin_client, partition_count, wait_for
from crmbot_core.topic_settings import required_settings, topic_settings, wrong_settings
from crmbot_producer.settings import TopicSettings

# A producer reads the whole topic at every start: keep it short.
_SHORT = {"segment.ms": str(10 * 60 * 1000), "min.cleanable.dirty.ratio": "0.1"}


class Topics(NamedTuple):
    """Names of the topics that were created, and of those that got more partitions."""

    made: list[str]
    raised: list[str]


def make_topics(
    kafka: Mapping[str, str], settings: TopicSettings, say: Callable[[str], None] = print
) -> Topics:
    """Create missing topics and partitions, and correct wrong topic settings.

    Idempotent, also when run concurrently. `say` receives a line for each corrected setting.

    Raises:
        ConfigurationError: a topic has more partitions than configured, or the broker refuses.
        TransientError: the broker does not answer.
    """
    admin = admin_client(kafka)
    retention = {"retention.ms": str(settings.retention_hours * 3_600_000)}
    extra = {stream.topic(settings.mrf): retention for stream in STREAMS.values()} | {STATE_TOPIC: _SHORT}
    wanted = [
        NewTopic(
            topic,
            num_partitions=1 if topic == STATE_TOPIC else settings.partitions,
            replication_factor=settings.replication_factor,
            config=required_settings(topic, settings.replication_factor) | own,
        )
        for topic, own in extra.items()
    ]
    made = []
    for name, answer in admin.create_topics(wanted, request_timeout=ADMIN_TIMEOUT_SECONDS).items():
        try:
            wait_for(answer, f"Create on topic {name}")
            made.append(name)
        except CrmBotError as error:
            if not _already_exists(error):
                raise
    existing = sorted(extra.keys() - set(made))
    for topic in existing:
        _correct_settings(admin, topic, say)
    raised = []
    for topic in existing:
        if topic == STATE_TOPIC:
            continue
        found = partition_count(admin, topic)
        if found > settings.partitions:
            raise ConfigurationError(
                f"topic {topic} has {found} partitions, not {settings.partitions}: set PARTITIONS to what is "
                "there, for Kafka cannot remove any"
            )
        if found < settings.partitions:
            _raise_partitions(admin, topic, settings.partitions)
            raised.append(topic)
    return Topics(made, raised)


def _correct_settings(admin: AdminClient, topic: str, say: Callable[[str], None]) -> None:
    found = topic_settings(admin, topic)
    wrong = wrong_settings(admin, topic, found)
    if not wrong:
        return
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wrong.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    (answer,) = admin.incremental_alter_configs([resource], request_timeout=ADMIN_TIMEOUT_SECONDS).values()
    wait_for(answer, f"AlterConfigs on topic {topic}")
    for name, value in wrong.items():
        say(f"{topic}: {name} is {value} now, was {found.get(name)}")


def _raise_partitions(admin: AdminClient, topic: str, partitions: int) -> None:
    answers = admin.create_partitions(
        [NewPartitions(topic, partitions)], request_timeout=ADMIN_TIMEOUT_SECONDS
    )
    try:
        wait_for(answers[topic], f"Alter on topic {topic}")
    except CrmBotError:
        # A concurrent run has added them.
        if partition_count(admin, topic) != partitions:
            raise


def _already_exists(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
