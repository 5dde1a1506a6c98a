"""Users of a secured broker, and the rights that docs/install.md grants them."""

import re
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from devstack.certificates import Authority, Certificate
from devstack.secured_kafka import SASL_MECHANISM, SecuredKafka

_INSTALL = Path(__file__).parents[2] / "docs" / "install.md"
_ROW = re.compile(
    r"^\| (topic|group|transactional id|cluster)(?: `(.+)\*`)? \| ([A-Za-z, ]+) \|", re.MULTILINE
)
_TYPES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,  # the client's name for it
}


class Right(NamedTuple):
    """An operation that is allowed on resources whose names begin with a prefix."""

    resource: str
    prefix: str
    operation: str

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource}"


def rights() -> list[Right]:
    """Return the rights of the table in docs/install.md."""
    return [
        Right(resource, prefix, operation)
        for resource, prefix, operations in _ROW.findall(_INSTALL.read_text())
        for operation in operations.split(", ")
    ]


def grant(kafka: SecuredKafka, user: str, *granted: Right) -> None:
    """Grant rights to a user."""
    bindings = [AclBinding(*_acl(user, right)) for right in granted]
    admin = _admin(kafka)
    for answer in admin.create_acls(bindings).values():
        answer.result(30)


def revoke(kafka: SecuredKafka, user: str, right: Right) -> None:
    """Revoke a right from a user."""
    admin = _admin(kafka)
    for answer in admin.delete_acls([AclBindingFilter(*_acl(user, right))]).values():
        assert len(answer.result(30)) == 1


def set_password(kafka: SecuredKafka, user: str, password: str) -> None:
    """Set or change a user's password."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(user, info, password.encode())
    admin = _admin(kafka)
    for answer in admin.alter_user_scram_credentials([change]).values():
        answer.result(30)


def sasl(kafka: SecuredKafka, authority: Authority, user: str, password: str) -> dict[str, str]:
    """Return the settings of a client with a password."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.sasl_servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": SASL_MECHANISM,
        "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD": password,
        "KAFKA_SSL_CA_LOCATION": str(authority.ca),
    }


def mtls(kafka: SecuredKafka, authority: Authority, certificate: Certificate) -> dict[str, str]:
    """Return the settings of a client with a certificate."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.mtls_servers,
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_LOCATION": str(authority.ca),
        "KAFKA_SSL_CERTIFICATE_LOCATION": str(certificate.chain),
        "KAFKA_SSL_KEY_LOCATION": str(certificate.key),
    }


def _admin(kafka: SecuredKafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers})


def _acl(
    user: str, right: Right
) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    is_cluster = right.resource == "cluster"
    return (
        _TYPES[right.resource],
        "kafka-cluster" if is_cluster else right.prefix,
        ResourcePatternType.LITERAL if is_cluster else ResourcePatternType.PREFIXED,
        f"User:{user}",
        "*",
        AclOperation[re.sub("(?<=[a-z])(?=[A-Z])", "_", right.operation).upper()],
        AclPermissionType.ALLOW,
    )
