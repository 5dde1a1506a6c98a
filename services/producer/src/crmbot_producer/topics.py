"""Makes the topics of an MRF."""

from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from crmbot_core.contracts import STREAMS
from crmbot_core.errors import ConfigurationError, CrmBotError
from crmbot_core.kafka import ADMIN_TIMEOUT_SECONDS, STATE_TOPIC, admin_client, partition_count, wait_for
from crmbot_producer.settings import TopicSettings

_STATE_CONFIG = {
    "cleanup.policy": "compact",
    # The whole topic is read at every start of a producer: keep it short.
    "segment.ms": str(10 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.1",
}


class Topics(NamedTuple):
    """Names of the topics that were made, and of those that got more partitions."""

    made: list[str]
    raised: list[str]


def make_topics(kafka: Mapping[str, str], settings: TopicSettings) -> Topics:
    """Make the topics and partitions that are missing. Safe to run twice and by two at once.

    Raises:
        ConfigurationError: a topic has more partitions than it should, or the broker refuses.
        TransientError: the broker does not answer.
    """
    admin = admin_client(kafka)
    wanted = [
        NewTopic(
            stream.topic(settings.mrf),
            num_partitions=settings.partitions,
            replication_factor=settings.replication_factor,
            config={"cleanup.policy": "delete", "retention.ms": str(settings.retention_hours * 3_600_000)},
        )
        for stream in STREAMS.values()
    ]
    wanted.append(
        NewTopic(
            STATE_TOPIC,
            num_partitions=1,
            replication_factor=settings.replication_factor,
            config=_STATE_CONFIG,
        )
    )
    made = []
    for name, answer in admin.create_topics(wanted, request_timeout=ADMIN_TIMEOUT_SECONDS).items():
        try:
            wait_for(answer)
            made.append(name)
        except CrmBotError as error:
            if not _already_there(error):
                raise
    raised = []
    for topic in sorted({stream.topic(settings.mrf) for stream in STREAMS.values()} - set(made)):
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


def _raise_partitions(admin: AdminClient, topic: str, partitions: int) -> None:
    answers = admin.create_partitions(
        [NewPartitions(topic, partitions)], request_timeout=ADMIN_TIMEOUT_SECONDS
    )
    try:
        wait_for(answers[topic])
    except CrmBotError:
        # Two at once: the other one was faster.
        if partition_count(admin, topic) != partitions:
            raise


def _already_there(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
