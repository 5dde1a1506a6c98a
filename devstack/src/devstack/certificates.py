"""A certificate authority for tests of TLS."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from devstack.server import write_private


class Certificate(NamedTuple):
    """PEM files of a certificate, its private key (PKCS #8), and both in one file for Kafka's keystores."""

    chain: Path
    key: Path
    keystore: Path


class Authority:
    """A new certificate authority; its certificate is the file `ca`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, *hosts: str, has_expired: bool = False) -> Certificate:
        """Write `<name>.pem`, `<name>.key` and `<name>-keystore.pem`.

        Args:
            name: the common name, by which a server identifies a client.
            hosts: the names of the server that uses it.
            has_expired: it expired an hour ago.
        """
        now = datetime.now(UTC)
        issued = self._authority.issue_cert(
            *(hosts or (f"{name}@example.com",)),
            common_name=name,
            not_before=now - timedelta(days=2),
            not_after=now + timedelta(hours=-1 if has_expired else 24),
        )
        key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
        files = Certificate(
            self._directory / f"{name}.pem",
            self._directory / f"{name}.key",
            self._directory / f"{name}-keystore.pem",
        )
        for file, text in zip(files, (chain, pkcs8, pkcs8 + chain), strict=True):
            write_private(file, text)
        return files
