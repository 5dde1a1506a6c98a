"""A PostgreSQL that accepts only encrypted connections, from zonky's binaries with OpenSSL."""

import platform
import tarfile
import zipfile
from pathlib import Path
from urllib.request import urlretrieve

from jgo.constants import MAVEN_CENTRAL_URL

from devstack.cache import cached
from devstack.certificates import Authority
from devstack.postgres import Postgres
from devstack.server import DevstackError

_VERSION = "18.4.0"
_ARCHITECTURES = {"x86_64": "linux-amd64", "aarch64": "linux-arm64v8"}
# The first match applies. The superuser connects as to any other server of devstack.
_CLIENTS = """
host    all          postgres 127.0.0.1/32 scram-sha-256
hostssl certificates all      127.0.0.1/32 cert
hostssl all          all      127.0.0.1/32 scram-sha-256
"""


class SecuredPostgres(Postgres):
    """A PostgreSQL on a port of 127.0.0.1 that has a certificate and accepts only encrypted connections.

    Roles authenticate with a password or, in the database `certificates`, with a certificate in their name.
    """

    def __init__(self, directory: Path, authority: Authority) -> None:
        """Describe a server; nothing runs before `start`."""
        server = authority.issue("warehouse", "127.0.0.1")
        clients = directory / "pg_hba.conf"
        clients.write_text(_CLIENTS)
        settings = {
            "ssl": "on",
            "ssl_cert_file": str(server.chain),
            "ssl_key_file": str(server.key),
            "ssl_ca_file": str(authority.ca),
            "hba_file": str(clients),
        }
        super().__init__(directory, tcp=True, settings=settings)

    def _programs(self) -> Path:
        return cached(f"postgres-{_VERSION}", _download) / "bin"


def _download(staging: Path) -> Path:
    architecture = _ARCHITECTURES.get(platform.machine())
    if platform.system() != "Linux" or architecture is None:
        raise DevstackError("a PostgreSQL with OpenSSL is downloaded for Linux on x86_64 and aarch64 only")
    artifact = f"embedded-postgres-binaries-{architecture}"
    url = f"{MAVEN_CENTRAL_URL}/io/zonky/test/postgres/{artifact}/{_VERSION}/{artifact}-{_VERSION}.jar"
    try:
        jar, _ = urlretrieve(url, staging / "postgres.jar")  # noqa: S310  (https)
    except OSError as error:
        raise DevstackError(
            f"PostgreSQL {_VERSION} can't be downloaded: {url}: {error}; check the network and start again"
        ) from error
    with zipfile.ZipFile(jar) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".txz"))
        archive.extract(name, staging)
    with tarfile.open(staging / name) as binaries:
        binaries.extractall(staging / "postgres", filter="data")
    return staging / "postgres"
