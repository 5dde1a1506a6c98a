"""Connections to the warehouse: PostgreSQL, Greenplum and its forks."""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow

from crmbot_core import psql
from crmbot_core.errors import ConfigurationError, RefusedDataError, StoppedError, TransientError
from crmbot_core.settings import WarehouseSettings

Connection = psycopg.Connection[TupleRow]

# Permanent: wrong password or role, missing database, privilege, table or column.
_CONFIGURATION_ERRORS = (
    errors.InvalidAuthorizationSpecification,
    errors.InvalidPassword,
    errors.InvalidCatalogName,
    errors.InsufficientPrivilege,
    errors.UndefinedTable,
    errors.UndefinedColumn,
)
# Permanent errors of class 53 in Greenplum, recognised by their messages.
_PERMANENT_LIMITS = ("requires more resources than resource queue allows", "insufficient memory reserved")
# Refused connections, for which libpq gives no SQLSTATE: passwords, roles, databases, certificates. If the
# server's messages are not in English, they count as a server that does not answer.
_REFUSALS = (
    "password authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "certificate",
    "private key",
    "alert unknown ca",
    "server does not support SSL",
)
_NAME_BYTES = 63  # of application_name
# SQLSTATE classes worth a retry: connection, resources, operator intervention, system; 25006 comes from a
# standby after a failover, 40 are deadlocks, 55 locks, 58M01 is Greenplum's lost segment.
_TRANSIENT_CLASSES = ("08", "25006", "40", "53", "55", "57", "58", "XX")


def _session_name(work: str) -> str:
    """Return the application_name of a session: its work and the end of the host name.

    The unique part of a pod's name is its end.
    """
    return f"{work} {platform.node()[len(work) + 1 - _NAME_BYTES :]}"


def connect(settings: WarehouseSettings, work: str = "", lock_seconds: float = 0) -> Connection:
    """Connect to the warehouse with autocommit on: callers open transactions where they need them.

    Args:
        settings: the warehouse.
        work: the session's name in pg_stat_activity; the running program by default.
        lock_seconds: how long a statement waits for a lock; 0 keeps the role's lock_timeout.

    Raises:
        ConfigurationError: the settings are wrong.
        TransientError: the warehouse does not answer.
    """
    password = settings.warehouse_password
    try:
        connection = psycopg.connect(
            settings.warehouse_dsn,
            password=password.get_secret_value() if password else None,
            autocommit=True,
            connect_timeout=10,
            # Detects a silently lost peer within half a minute.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            client_encoding="UTF8",
            application_name=_session_name(work or Path(sys.argv[0]).name),
        )
        # Overrides the role's default: the ledger's fence has to see earlier commits.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.execute("SET TIME ZONE 'UTC'")
        if lock_seconds:
            connection.execute(f"SET lock_timeout = {round(lock_seconds * 1000)}")
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"WAREHOUSE_DSN: {_first_line(error)}") from None
    except psycopg.OperationalError as error:
        if any(refusal in str(error) for refusal in _REFUSALS):
            raise ConfigurationError(f"the warehouse refuses the connection: {_first_line(error)}") from None
        raise TransientError(f"the warehouse does not answer: {_first_line(error)}") from error
    return connection


@contextmanager
def translated_errors() -> Iterator[None]:
    """Convert psycopg's errors to TransientError, ConfigurationError, RefusedDataError or StoppedError."""
    try:
        yield
    except _CONFIGURATION_ERRORS as error:
        raise ConfigurationError(
            f"the warehouse refuses: {_first_line(error)}; run `crmbot-consumer migrate` or grant the rights"
        ) from error
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        # The client itself rejects some values, for example text with NUL, without a SQLSTATE.
        state = error.sqlstate or "no SQLSTATE"
        raise RefusedDataError(f"the warehouse refuses the data ({state}): {_first_line(error)}") from error
    except errors.LockNotAvailable as error:
        raise TransientError(
            f"the warehouse: another session has held a lock for too long: {_first_line(error)}"
        ) from error
    except psycopg.Error as error:
        state = error.sqlstate or "08000"
        if any(limit in str(error) for limit in _PERMANENT_LIMITS):
            raise ConfigurationError(
                f"the warehouse refuses: {_first_line(error)}; give the role a resource queue with a higher "
                "MAX_COST or MEMORY_LIMIT, or a higher statement_mem: docs/greenplum.md"
            ) from error
        if state.startswith(_TRANSIENT_CLASSES) or isinstance(error, psycopg.InterfaceError):
            raise TransientError(f"the warehouse failed: {_first_line(error)}") from error
        raise StoppedError(f"the warehouse refuses the data ({state}): {_first_line(error)}") from error


@contextmanager
def snapshot(settings: WarehouseSettings, *, is_read_only: bool = False) -> Iterator[Connection]:
    """Connect, and yield a REPEATABLE READ transaction: all reads see one snapshot.

    Raises the errors of `connect` and `translated_errors`.
    """
    with translated_errors(), connect(settings) as connection:
        connection.read_only = is_read_only
        with one_snapshot(connection):
            yield connection


@contextmanager
def one_snapshot(connection: Connection) -> Iterator[None]:
    """Run the block in a REPEATABLE READ transaction: all reads see one snapshot."""
    before = connection.isolation_level
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            yield
    finally:
        if not connection.closed:
            connection.isolation_level = before


def is_greenplum(connection: Connection) -> bool:
    """Return whether the server is Greenplum or a fork, by its features and not its version string."""
    if connection.info.parameter_status("gp_server_version"):
        return True
    row = connection.execute(
        "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'gp_distribution_policy'"
    ).fetchone()
    return row is not None and row[0] != 0


def storage_clauses(connection: Connection, sql_dir: Path) -> dict[str, str]:
    """Return the storage clauses of `sql/storage/` that fit this server."""
    name = "greenplum" if is_greenplum(connection) else "postgresql"
    return psql.variables(sql_dir / "storage" / f"{name}.sql")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
