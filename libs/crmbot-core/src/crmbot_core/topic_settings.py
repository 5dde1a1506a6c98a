"""Topic settings that the promises depend on: set by `topics`, checked at every start.

With the bot's own timestamps, a wrong clock could make retention delete new messages or the broker reject
them; compaction and retention by size delete unloaded messages.
"""

from collections.abc import Mapping

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from crmbot_core.errors import ConfigurationError
from crmbot_core.kafka import ADMIN_TIMEOUT_SECONDS, STATE_TOPIC, wait_for
from crmbot_core.kafka_errors import missing_topic_named

_STREAM = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime", "retention.bytes": "-1"}
_STATE = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
_IN_SYNC = "min.insync.replicas"


def required_settings(topic: str, replicas: int) -> dict[str, str]:
    """Return the required settings of a topic with this number of replicas."""
    settings = _STATE if topic == STATE_TOPIC else _STREAM
    return settings | ({_IN_SYNC: "2"} if replicas > 1 else {})


def topic_settings(admin: AdminClient, topic: str) -> dict[str, str]:
    """Return all settings of a topic; raises the errors of `crmbot_core.kafka.topic_id`."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (answer,) = admin.describe_configs([resource], request_timeout=ADMIN_TIMEOUT_SECONDS).values()
    right = f"DescribeConfigs on topic {topic}"
    with missing_topic_named(topic):
        return {name: str(entry.value) for name, entry in wait_for(answer, right).items()}


def wrong_settings(admin: AdminClient, topic: str, found: Mapping[str, str]) -> dict[str, str]:
    """Return the required settings that a topic lacks; a higher min.insync.replicas is accepted."""
    answer = admin.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_TIMEOUT_SECONDS)[topic]
    with missing_topic_named(topic):
        replicas = min(len(partition.replicas) for partition in wait_for(answer).partitions)
    return {
        name: value
        for name, value in required_settings(topic, replicas).items()
        if found.get(name) != value and not (name == _IN_SYNC and int(found.get(name, 1)) > int(value))
    }


def check_topic_settings(admin: AdminClient, topic: str) -> dict[str, str]:
    """Check a topic's required settings and return all its settings.

    Raises:
        ConfigurationError: a required setting is wrong, or the topic does not exist.
        TransientError: the broker does not answer.
    """
    found = topic_settings(admin, topic)
    wrong = [
        f"{name} is {found.get(name)}, not {value}"
        for name, value in wrong_settings(admin, topic, found).items()
    ]
    if wrong:
        raise ConfigurationError(
            f"topic {topic}: {'; '.join(wrong)}: rows could be lost; `crmbot-producer topics` puts it right"
        )
    return found
