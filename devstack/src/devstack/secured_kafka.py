"""A Kafka broker with encryption, authentication and ACLs, as in production."""

from pathlib import Path

from devstack.certificates import Authority
from devstack.kafka import Kafka
from devstack.ports import free_port

SASL_MECHANISM = "SCRAM-SHA-512"


class SecuredKafka(Kafka):
    """A broker whose users need ACLs.

    Users connect to `sasl_servers` by SASL_SSL with a password, or to `mtls_servers` with a certificate whose
    common name is the user. `bootstrap_servers` is not encrypted, and every client there is the superuser.
    """

    def __init__(self, directory: Path, authority: Authority) -> None:
        """Describe a broker with a certificate of the authority for 127.0.0.1."""
        plain, controller, sasl, mtls = (free_port() for _ in range(4))
        keystore = authority.issue("broker", "127.0.0.1").keystore
        listeners = {"PLAINTEXT": plain, "SASL_SSL": sasl, "SSL": mtls}
        addresses = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
        settings = {
            "listeners": f"{addresses},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": addresses,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,"
            "CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority.ca),
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
            "sasl.enabled.mechanisms": SASL_MECHANISM,
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }
        super().__init__(directory, port=plain, settings=settings)
        self.sasl_servers = f"127.0.0.1:{sasl}"
        self.mtls_servers = f"127.0.0.1:{mtls}"
