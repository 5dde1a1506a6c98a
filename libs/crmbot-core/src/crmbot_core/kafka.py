"""Kafka client settings, errors and the few admin calls that producer and consumer share."""

import logging
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from crmbot_core.errors import ConfigurationError, CrmBotError, StoppedError, TransientError
from crmbot_core.settings import kafka_settings, variable_name

STATE_TOPIC = "crm_bot_producer_state"
ADMIN_TIMEOUT_SECONDS = 15.0
_NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
_SOON_SECONDS = 5.0
EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]

ClientConfig = dict[str, Any]
# What no command lets a variable change; clients fix more of their own.
_PROMISED: ClientConfig = {
    "acks": "all",
    "enable.idempotence": True,
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
}
_Answer = TypeVar("_Answer")

_CONFIGURATION_CODES = frozenset(
    {
        KafkaError._INVALID_ARG,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)
_SILENCE_CODES = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
)
_FENCED_CODES = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, "librdkafka", detail=record.getMessage())


def client_config(
    settings: Mapping[str, str], *, defaults: ClientConfig, fixed: ClientConfig
) -> ClientConfig:
    """Merge the user's settings over our defaults, and what the promises rest on over both.

    Raises:
        ConfigurationError: if a setting contradicts a fixed one.
    """
    for name, value in fixed.items():
        if name in settings and settings[name].lower() != str(value).lower():
            raise ConfigurationError(
                f"{variable_name(name)} must be {value} here: exactly-once rests on it; remove the variable"
            )
    logger = logging.getLogger("librdkafka")
    if not logger.handlers:
        logger.addHandler(_ToStructlog())
        logger.propagate = False
    return defaults | dict(settings) | fixed | {"logger": logger}


def as_error(error: KafkaError) -> CrmBotError:
    """Return what a Kafka error means for the user: wrong settings, fenced, or worth another try."""
    text = error.str()
    if error.code() in _CONFIGURATION_CODES:
        if text.startswith("No such configuration property"):
            name = variable_name(text.split('"')[1])
            return ConfigurationError(f"{name}: Kafka knows no such setting; correct or remove the variable")
        return ConfigurationError(f"Kafka: {text}")
    if error.code() in _FENCED_CODES:
        # Both look alike to the client.
        return StoppedError(
            f"another process has taken over, or Kafka gave up a transaction that took too long: {text}"
        )
    if error.fatal():
        return CrmBotError(f"the Kafka client cannot go on: {text}")
    if error.code() in _SILENCE_CODES:
        return TransientError(f"Kafka does not answer: {text}; if that lasts, check KAFKA_BOOTSTRAP_SERVERS")
    return TransientError(f"Kafka: {text}")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn KafkaException into the error that `as_error` makes of it."""
    try:
        yield
    except KafkaException as exception:
        error = exception.args[0]
        raise as_error(error) from exception


def checked_settings() -> dict[str, str]:
    """Return `kafka_settings`, if a client can be made of them: a command asks before it opens anything.

    Raises:
        ConfigurationError: for a setting that Kafka does not know, or that contradicts exactly-once.
    """
    settings = kafka_settings()
    admin_client(settings)
    return settings


def admin_client(settings: Mapping[str, str]) -> AdminClient:
    """Return an admin client; raises ConfigurationError for settings that Kafka does not know."""
    config = client_config(settings, defaults={}, fixed=_PROMISED)
    try:
        with translated_errors():
            return AdminClient({name: value for name, value in config.items() if name not in _PROMISED})
    except ConfigurationError as error:
        raise ConfigurationError(_with_variables(str(error), settings)) from error


def _with_variables(text: str, settings: Mapping[str, str]) -> str:
    """Name settings as the user does."""
    for name in settings:
        text = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", variable_name(name), text)
    return text


def topic_id(admin: AdminClient, topic: str) -> str:
    """Return the identity that Kafka gave the topic (KIP-516).

    Raises:
        ConfigurationError: if there is no such topic, or the brokers are too old to give it one.
        TransientError: if the broker does not answer.
    """
    answer = admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_TIMEOUT_SECONDS)[topic]
    with missing_topic_named(topic):
        identity = str(wait_for(answer).topic_id)
    if identity == _NO_TOPIC_ID:
        raise ConfigurationError(
            f"Kafka gives topic {topic} no id, by which a recreated topic is known: brokers need Kafka 2.8 "
            "or later, with inter.broker.protocol.version=2.8 or later"
        )
    return identity


def offsets(
    admin: AdminClient,
    partitions: list[TopicPartition],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    timeout: float = ADMIN_TIMEOUT_SECONDS,
) -> dict[tuple[str, int], int]:
    """Return the earliest or latest offset of each partition, by default open transactions included."""
    answers = admin.list_offsets(
        {TopicPartition(p.topic, p.partition): spec for p in partitions},
        isolation_level=isolation,
        request_timeout=timeout,
    )
    return {(p.topic, p.partition): wait_for(answer).offset for p, answer in answers.items()}


def stable_ends(settings: Mapping[str, str], topic: str) -> dict[int, int]:
    """Return where each partition ends for a client that reads committed messages only.

    Raises:
        ConfigurationError: if there is no such topic.
        TransientError: if the broker does not answer soon.
    """
    admin = admin_client(settings)
    ends = offsets(
        admin,
        [TopicPartition(topic, partition) for partition in range(partition_count(admin, topic))],
        LATEST,
        IsolationLevel.READ_COMMITTED,
        _SOON_SECONDS,
    )
    return {partition: end for (_, partition), end in ends.items()}


def partition_count(admin: AdminClient, topic: str) -> int:
    """Return the number of the topic's partitions; raises as `topic_id` does."""
    answer = admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_TIMEOUT_SECONDS)[topic]
    with missing_topic_named(topic):
        return len(wait_for(answer).partitions)


def wait_for(answer: "Future[_Answer]") -> _Answer:
    """Return an admin call's answer, its errors translated."""
    with translated_errors():
        return answer.result(timeout=ADMIN_TIMEOUT_SECONDS + 5)


@contextmanager
def missing_topic_named(topic: str) -> Iterator[None]:
    """Say how to make the topic when the broker answers that there is none."""
    try:
        yield
    except ConfigurationError as error:
        cause = error.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise ConfigurationError(
                f"there is no topic {topic}: make it with `crmbot-producer topics`"
            ) from None
        raise
