"""The consumer group: which protocol it uses, and whether this consumer is one of its members."""

import time
from collections.abc import Mapping

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_core.kafka import ADMIN_TIMEOUT_SECONDS, ClientConfig, wait_for

_NEW, _CLASSIC = "consumer", "classic"
# Settings that the new protocol leaves to the broker; the client refuses them there.
_CLASSIC_SETTINGS = frozenset(
    {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type"}
)
_BROKER_PROTOCOLS = "group.coordinator.rebalance.protocols"
_CHECK_SECONDS = 10.0
_PATIENCE_SECONDS = 60.0


def group_id(topic: str) -> str:
    """Return the group of a topic's consumers, which the chart's ScaledObject names too."""
    return f"crmbot-consumer-{topic}"


def group_config(settings: Mapping[str, str], admin: AdminClient) -> ClientConfig:
    """Return the client settings of the group's protocol: KIP-848 where the broker has it, or classic.

    Exactly-once rests on neither: the ledger fences whoever loads a range twice. A client that asks for
    KIP-848 gets no answer and no error from a broker without it, so the broker's configuration decides,
    unless KAFKA_GROUP_PROTOCOL or a setting of the classic protocol does.

    Raises:
        TransientError: the broker does not answer.
    """
    protocol = settings.get("group.protocol", "").lower()
    if not protocol:
        is_classic = not _CLASSIC_SETTINGS.isdisjoint(settings) or not _has_new_protocol(admin)
        protocol = _CLASSIC if is_classic else _NEW
    # Partitions are assigned and revoked one by one, as with KIP-848.
    assignor = {"partition.assignment.strategy": "cooperative-sticky"} if protocol == _CLASSIC else {}
    return {"group.protocol": protocol, **assignor}


class Membership:
    """Whether this consumer is a member of its group, which the client does not say.

    A member without partitions is on standby. A consumer that is not admitted waits for ever, without an
    error: the broker does not have the protocol, or the client has lost the coordinator.
    """

    def __init__(self, admin: AdminClient, group: str, protocol: str) -> None:
        self._admin = admin
        self._group = group
        self._protocol = protocol
        self._since = self._checked = time.monotonic()
        self.is_member = False

    def check(self, member_id: str, *, is_assigned: bool) -> None:
        """Update `is_member`; asks the broker now and then, and only while there are no partitions.

        Raises:
            TransientError: the coordinator has not admitted the consumer for a minute.
        """
        now = time.monotonic()
        if is_assigned:
            self.is_member, self._since = True, now
        elif now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            self.is_member = self._has(member_id)
            if self.is_member:
                self._since = now
            elif now - self._since >= _PATIENCE_SECONDS:
                raise TransientError(self._reason())

    def _has(self, member_id: str) -> bool:
        answer = self._admin.describe_consumer_groups([self._group], request_timeout=ADMIN_TIMEOUT_SECONDS)
        try:
            members = wait_for(answer[self._group]).members
        except TransientError:  # such as a coordinator that moves
            return False
        return any(member.member_id == member_id for member in members)

    def _reason(self) -> str:
        likely = (
            "group.protocol=consumer needs a broker of Kafka 4.0 or later whose feature group.version is 1; "
            "KAFKA_GROUP_PROTOCOL=classic works with every broker"
            if self._protocol == _NEW
            else "another member does not leave, or the coordinator is not available"
        )
        return f"not admitted to the group {self._group} for {_PATIENCE_SECONDS:.0f} s: {likely}"


def _has_new_protocol(admin: AdminClient) -> bool:
    """Read it from a broker's configuration, which needs the right DescribeConfigs on the cluster."""
    broker = wait_for(admin.describe_cluster(request_timeout=ADMIN_TIMEOUT_SECONDS)).nodes[0]
    resource = ConfigResource(ResourceType.BROKER, broker.id_string)
    (answer,) = admin.describe_configs([resource], request_timeout=ADMIN_TIMEOUT_SECONDS).values()
    try:
        protocols = wait_for(answer).get(_BROKER_PROTOCOLS)
    except ConfigurationError:
        return False  # no right: classic works everywhere
    return protocols is not None and _NEW in str(protocols.value).split(",")
