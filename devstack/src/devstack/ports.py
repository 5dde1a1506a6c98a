"""TCP ports on 127.0.0.1."""

import random
import socket
from pathlib import Path

from devstack.server import DevstackError

# Below the range from which the kernel takes ports for outgoing connections: a client that keeps
# trying to reach a stopped server could otherwise be given the server's own port.
_RANGE = range(20_000, 32_000)
_given: set[int] = set()  # their servers may not listen yet


def free_port() -> int:
    """Return a port on which nothing listens now and that this process was not given before."""
    while (port := random.choice(_RANGE)) in _given or _in_use(port):
        pass
    _given.add(port)
    return port


def require_free(port: int) -> None:
    """Raise DevstackError when something listens on `port`."""
    if _in_use(port):
        raise DevstackError(f"port {port} is in use by another program: end it, or take another directory")


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def remembered_port(file: Path, wanted: int | None = None) -> int:
    """Return the port noted in `file`; the first call notes `wanted`, or else a free port, there.

    A wanted port that differs from the noted one replaces it.
    """
    if wanted is None and file.exists():
        return int(file.read_text())
    port = wanted or free_port()
    file.write_text(str(port))
    return port
