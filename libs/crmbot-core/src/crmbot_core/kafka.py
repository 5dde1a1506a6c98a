"""Kafka client settings and admin calls shared by producer and consumer."""

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
_SHORT_TIMEOUT_SECONDS = 5.0
_PROBE_SECONDS = 3.0
EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]

ClientConfig = dict[str, Any]
# Exactly-once depends on these: no variable may change them. Clients fix more of their own.
_FIXED: ClientConfig = {
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
    """Merge settings: `fixed` overrides the user's `settings`, which override `defaults`.

    Raises:
        ConfigurationError: a setting contradicts a fixed one.
    """
    for name, value in fixed.items():
        if name in settings and settings[name].lower() != str(value).lower():
            raise ConfigurationError(
                f"{variable_name(name)} must be {value} here: exactly-once depends on it; remove the variable"
            )
    logger = logging.getLogger("librdkafka")
    if not logger.handlers:
        logger.addHandler(_ToStructlog())
        logger.propagate = False
    return defaults | dict(settings) | fixed | {"logger": logger}


def checked_settings() -> dict[str, str]:
    """Return `kafka_settings`, validated by creating a client: commands do this before they open anything.

    Raises:
        ConfigurationError: a setting is unknown or contradicts exactly-once, or a file is missing or
            unreadable.
    """
    settings = kafka_settings()
    for name, value in settings.items():
        if name.endswith(".location") and value != "probe" and not os.access(value, os.R_OK):
            raise ConfigurationError(f"{variable_name(name)}: {value!r} is not there, or may not be read")
    _client(settings, [])
    return settings


def admin_client(settings: Mapping[str, str], seconds: float = ADMIN_TIMEOUT_SECONDS) -> AdminClient:
    """Return an admin client that has reached a broker; retries for `seconds`.

    Raises:
        ConfigurationError: a setting is unknown, the password is wrong, or one side does not trust the
            other's certificate.
        TransientError: no broker answers.
    """
    failures: list[KafkaError] = []
    admin = _client(settings, failures)
    deadline = time.monotonic() + seconds
    while True:
        try:
            wait_for(admin.describe_cluster(request_timeout=_PROBE_SECONDS))
        except TransientError as timeout_error:
            admin.poll(0)
            # The call itself only reports that no broker answered.
            causes = [as_error(error) for error in failures]
            for cause in causes:
                if isinstance(cause, ConfigurationError):
                    raise cause from None
            if time.monotonic() > deadline:
                raise causes[0] if causes else timeout_error from None
        else:
            return admin


def _client(settings: Mapping[str, str], failures: list[KafkaError]) -> AdminClient:
    """Return an admin client that appends connection errors to `failures` when polled.

    It logs only critical events: the caller raises the rest.
    """
    config = client_config(settings, defaults={"log_level": 2}, fixed=_FIXED)
    changeable = {name: value for name, value in config.items() if name not in _FIXED}
    try:
        with translated_errors():
            return AdminClient(changeable | {"error_cb": failures.append})
    except ConfigurationError as error:
        raise ConfigurationError(_with_variables(str(error), settings)) from error


def _with_variables(text: str, settings: Mapping[str, str]) -> str:
    """Replace names of settings by their environment variables."""
    for name in settings:
        text = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", variable_name(name), text)
    return text


def topic_id(admin: AdminClient, topic: str) -> str:
    """Return the topic's id (KIP-516).

    Raises:
        ConfigurationError: the topic does not exist, or the brokers are too old for topic ids.
        TransientError: the broker does not answer.
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
    """Return the earliest or latest offset of each partition, by default including open transactions."""
    answers = admin.list_offsets(
        {TopicPartition(p.topic, p.partition): spec for p in partitions},
        isolation_level=isolation,
        request_timeout=timeout,
    )
    return {(p.topic, p.partition): wait_for(answer).offset for p, answer in answers.items()}


def stable_ends(settings: Mapping[str, str], topic: str) -> dict[int, int]:
    """Return the last stable offset of each partition: its end for read_committed clients.

    Raises:
        ConfigurationError: the topic does not exist.
        TransientError: the broker does not answer within seconds.
    """
    admin = admin_client(settings, _SHORT_TIMEOUT_SECONDS)
    ends = offsets(
        admin,
        [TopicPartition(topic, partition) for partition in range(partition_count(admin, topic))],
        LATEST,
        IsolationLevel.READ_COMMITTED,
        _SHORT_TIMEOUT_SECONDS,
    )
    return {partition: end for (_, partition), end in ends.items()}


def partition_count(admin: AdminClient, topic: str) -> int:
    """Return the topic's number of partitions; raises the errors of `topic_id`."""
    answer = admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_TIMEOUT_SECONDS)[topic]
    with missing_topic_named(topic):
        return len(wait_for(answer, f"Read on topic {topic}").partitions)


def wait_for(answer: "Future[_Answer]", topic_right: str = "") -> _Answer:
    """Return an admin call's result; converts its errors with `as_error`."""
    with translated_errors(topic_right):
        return answer.result(timeout=ADMIN_TIMEOUT_SECONDS + 5)
