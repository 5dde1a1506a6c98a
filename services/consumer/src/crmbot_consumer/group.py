"""The consumer group: its protocol, and whether this consumer is a member."""

import time
from collections.abc import Mapping

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_core.kafka import ADMIN_TIMEOUT_SECONDS, ClientConfig, wait_for

_KIP_848, _CLASSIC = "consumer", "classic"
# Settings that are the broker's with KIP-848; the client then rejects them.
_CLASSIC_SETTINGS = frozenset(
    {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type"}
)
_BROKER_PROTOCOLS = "group.coordinator.rebalance.protocols"
_CHECK_SECONDS = 10.0
_ADMISSION_SECONDS = 60.0


def group_id(topic: str) -> str:
    """Return the group.id of a topic's consumers; the chart's ScaledObject uses the same."""
    return f"crmbot-consumer-{topic}"


def group_config(settings: Mapping[str, str], admin: AdminClient) -> ClientConfig:
    """Return the client settings of the group's protocol: KIP-848 if the broker supports it, else classic.

    Exactly-once depends on neither: the ledger fences a consumer that loads a range twice. A client that
    requests KIP-848 gets no response, not even an error, from a broker without it. So the broker's
    configuration decides, unless KAFKA_GROUP_PROTOCOL or a setting of the classic protocol is given.

    Raises:
        TransientError: the broker is unavailable.
    """
    protocol = settings.get("group.protocol", "").lower()
    if not protocol:
        is_classic = not _CLASSIC_SETTINGS.isdisjoint(settings) or not _supports_kip_848(admin)
        protocol = _CLASSIC if is_classic else _KIP_848
    # Partitions are assigned and revoked incrementally, as with KIP-848.
    assignor = {"partition.assignment.strategy": "cooperative-sticky"} if protocol == _CLASSIC else {}
    return {"group.protocol": protocol, **assignor}


class Membership:
    """Whether this consumer is a member of its group, which the client does not report.

    A member without partitions is on standby. A consumer that is not admitted would wait forever, without an
    error: the broker does not support the protocol, or the client has lost the coordinator.
    """

    def __init__(self, admin: AdminClient, group: str, protocol: str) -> None:
        self._admin = admin
        self._group = group
        self._protocol = protocol
        self._since = self._checked = time.monotonic()
        self.is_member = False

    def check(self, member_id: str, *, is_assigned: bool) -> None:
        """Update `is_member`; queries the broker periodically, and only while no partitions are assigned.

        Raises:
            TransientError: the coordinator has not admitted the consumer for a minute.
        """
        now = time.monotonic()
        if is_assigned:
            self.is_member, self._since = True, now
        elif now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            self.is_member = self._is_listed(member_id)
            if self.is_member:
                self._since = now
            elif now - self._since >= _ADMISSION_SECONDS:
                raise TransientError(self._reason())

    def _is_listed(self, member_id: str) -> bool:
        answer = self._admin.describe_consumer_groups([self._group], request_timeout=ADMIN_TIMEOUT_SECONDS)
        try:
            members = wait_for(answer[self._group]).members
        except TransientError:  # for example, the coordinator moves
            return False
        return any(member.member_id == member_id for member in members)

    def _reason(self) -> str:
        likely = (
            "group.protocol=consumer needs a broker of Kafka 4.0 or later whose feature group.version is 1; "
            "KAFKA_GROUP_PROTOCOL=classic works with every broker"
            if self._protocol == _KIP_848
            else "another member does not leave, or the coordinator is not available"
        )
        return f"not admitted to the group {self._group} for {_ADMISSION_SECONDS:.0f} s: {likely}"


def _supports_kip_848(admin: AdminClient) -> bool:
    """Return whether the brokers support KIP-848; needs the right DescribeConfigs on the cluster."""
    broker = wait_for(admin.describe_cluster(request_timeout=ADMIN_TIMEOUT_SECONDS)).nodes[0]
    resource = ConfigResource(ResourceType.BROKER, broker.id_string)
    (answer,) = admin.describe_configs([resource], request_timeout=ADMIN_TIMEOUT_SECONDS).values()
    try:
        protocols = wait_for(answer).get(_BROKER_PROTOCOLS)
    except ConfigurationError:
        return False  # without the right: classic works everywhere
    return protocols is not None and _KIP_848 in str(protocols.value).split(",")
