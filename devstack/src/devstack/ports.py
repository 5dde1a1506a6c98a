"""TCP ports on 127.0.0.1."""

import random
import socket
from pathlib import Path

from devstack.server import DevstackError

# Below the ephemeral port range: a client that keeps reconnecting to a stopped server could otherwise be
# assigned the server's port.
_RANGE = range(20_000, 32_000)
_returned: set[int] = set()  # their servers may not listen yet


def free_port() -> int:
    """Return a port on which nothing listens and that was not returned before in this process."""
    while (port := random.choice(_RANGE)) in _returned or _in_use(port):
        pass
    _returned.add(port)
    return port


def require_free(port: int) -> None:
    """Raise DevstackError when something listens on `port`."""
    if _in_use(port):
        raise DevstackError(f"port {port} is in use by another program: stop it, or use another directory")


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def remembered_port(file: Path, wanted: int | None = None) -> int:
    """Return the port stored in `file`, or store `wanted`, or else a free port, there.

    A `wanted` port replaces the stored one.
    """
    if wanted is None and file.exists():
        return int(file.read_text())
    port = wanted or free_port()
    file.write_text(str(port))
    return port
