"""Converts Kafka's errors to the services' own."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from crmbot_core.errors import ConfigurationError, CrmBotError, StoppedError, TransientError
from crmbot_core.settings import variable_name

_CONFIGURATION_CODES = frozenset(
    {
        KafkaError._INVALID_ARG,
        KafkaError._SSL,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)
# The missing right to report, unless the caller names another one.
_AUTHORIZATION_CODES = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Read or Write on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Read on the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "on the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Write on the transactional id",
}
_UNREACHABLE_CODES = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
)
# With TLS 1.3 a broker rejects a wrong or missing client certificate only after the client's handshake.
_SSL_ALERT = "SSL alert number"
_AUTHENTICATION_CODES = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_FENCED_CODES = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


def as_error(error: KafkaError, topic_right: str = "") -> CrmBotError:
    """Return the error for the user: wrong settings, fenced, failed client, or worth a retry.

    Args:
        error: the client's error.
        topic_right: the right to report if one on a topic is missing, such as "Read on topic actions".
    """
    text = error.str()
    if error.code() in _AUTHORIZATION_CODES:
        right = _AUTHORIZATION_CODES[error.code()]
        if topic_right and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            right = topic_right
        return ConfigurationError(f"Kafka: {text}; its user needs the right {right}: docs/install.md")
    if error.code() in _CONFIGURATION_CODES:
        if text.startswith("No such configuration property"):
            name = variable_name(text.split('"')[1])
            return ConfigurationError(f"{name}: Kafka knows no such setting; correct or remove the variable")
        return ConfigurationError(f"Kafka: {text}")
    if error.code() in _AUTHENTICATION_CODES:
        return ConfigurationError(f"Kafka: {text}; check KAFKA_SASL_USERNAME, _PASSWORD and _MECHANISM")
    if _SSL_ALERT in text:
        return ConfigurationError(f"Kafka does not take the client's certificate: {text}")
    if error.code() in _FENCED_CODES:
        # The client cannot tell the two apart.
        return StoppedError(
            "fenced by another producer, or Kafka aborted a transaction that exceeded "
            f"transaction.timeout.ms: {text}"
        )
    if error.fatal():
        return CrmBotError(f"the Kafka client failed: {text}")
    if error.code() in _UNREACHABLE_CODES:
        return TransientError(
            f"Kafka does not answer: {text}; if this persists, check KAFKA_BOOTSTRAP_SERVERS"
        )
    return TransientError(f"Kafka: {text}")


@contextmanager
def translated_errors(topic_right: str = "") -> Iterator[None]:
    """Convert KafkaException with `as_error`."""
    try:
        yield
    except KafkaException as exception:
        error = exception.args[0]
        raise as_error(error, topic_right) from exception


@contextmanager
def missing_topic_named(topic: str) -> Iterator[None]:
    """Say how to create the topic if the broker reports that it does not exist."""
    try:
        yield
    except ConfigurationError as error:
        cause = error.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise ConfigurationError(
                f"there is no topic {topic}: make it with `crmbot-producer topics`"
            ) from None
        raise
