"""Kafka client settings, errors and the few admin calls that producer and consumer share."""

import logging
import os
import re
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog
from confluent_kafka import IsolationLevel, KafkaError, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_core.kafka_errors import as_error, missing_topic_named, translated_errors
from crmbot_core.settings import kafka_settings, variable_name

STATE_TOPIC = "crm_bot_producer_state"
ADMIN_TIMEOUT_SECONDS = 15.0
_NO_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"
_SOON_SECONDS = 5.0
_REFUSAL_SECONDS = 3.0
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


def checked_settings() -> dict[str, str]:
    """Return `kafka_settings`, if a client can be made of them: a command asks before it opens anything.

    Raises:
        ConfigurationError: for a setting that Kafka does not know, or that contradicts exactly-once, and for
            a file that is not there.
    """
    settings = kafka_settings()
    for name, value in settings.items():
        if name.endswith(".location") and value != "probe" and not os.access(value, os.R_OK):
            raise ConfigurationError(f"{variable_name(name)}: {value!r} is not there, or may not be read")
    _client(settings, [])
    return settings


def admin_client(settings: Mapping[str, str], seconds: float = ADMIN_TIMEOUT_SECONDS) -> AdminClient:
    """Return an admin client that a broker has answered, for which it waits so long.

    Raises:
        ConfigurationError: Kafka does not know a setting, or no broker takes the client as it is: a wrong
            password, or a certificate that one of the two does not trust.
        TransientError: no broker answers.
    """
    failures: list[KafkaError] = []
    admin = _client(settings, failures)
    deadline = time.monotonic() + seconds
    while True:
        try:
            wait_for(admin.describe_cluster(request_timeout=_REFUSAL_SECONDS))
        except TransientError as silence:
            admin.poll(0)
            # The call itself only knows that nobody answered.
            meanings = [as_error(error) for error in failures]
            for meaning in meanings:
                if isinstance(meaning, ConfigurationError):
                    raise meaning from None
            if time.monotonic() > deadline:
                raise meanings[0] if meanings else silence from None
        else:
            return admin


def _client(settings: Mapping[str, str], failures: list[KafkaError]) -> AdminClient:
    """Return an admin client that adds to `failures`, when it is polled, why brokers do not talk to it.

    It logs only what is critical: the caller raises the rest.
    """
    config = client_config(settings, defaults={"log_level": 2}, fixed=_PROMISED)
    changeable = {name: value for name, value in config.items() if name not in _PROMISED}
    try:
        with translated_errors():
            return AdminClient(changeable | {"error_cb": failures.append})
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
        identity = str(wait_for(answer, f"Read on topic {topic}").topic_id)
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
    admin = admin_client(settings, _SOON_SECONDS)
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
        return len(wait_for(answer, f"Read on topic {topic}").partitions)


def wait_for(answer: "Future[_Answer]", topic_right: str = "") -> _Answer:
    """Return an admin call's answer, its errors translated as `as_error` does."""
    with translated_errors(topic_right):
        return answer.result(timeout=ADMIN_TIMEOUT_SECONDS + 5)
