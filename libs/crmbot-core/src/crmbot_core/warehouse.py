"""Connections to the warehouse: PostgreSQL, Greenplum and its forks."""

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

# What no retry can mend: wrong password or role, no such database, no rights, no such table or column.
_CONFIGURATION_ERRORS = (
    errors.InvalidAuthorizationSpecification,
    errors.InvalidPassword,
    errors.InvalidCatalogName,
    errors.InsufficientPrivilege,
    errors.UndefinedTable,
    errors.UndefinedColumn,
)
# Classes of SQLSTATE for which the same statement may succeed later: connection, resources, operator, system;
# 25006 is a standby that took over, 40 are deadlocks, 55 locks, 58M01 is Greenplum's lost segment.
_TRANSIENT_CLASSES = ("08", "25006", "40", "53", "55", "57", "58", "XX")


def connect(settings: WarehouseSettings) -> Connection:
    """Connect to the warehouse, with autocommit on: transactions are opened where they are needed.

    Raises:
        ConfigurationError: if the settings cannot work.
        TransientError: if the warehouse does not answer now.
    """
    password = settings.warehouse_password
    try:
        connection = psycopg.connect(
            settings.warehouse_dsn,
            password=password.get_secret_value() if password else None,
            autocommit=True,
            connect_timeout=10,
            # Noticed within half a minute if the other side goes away without a word.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            client_encoding="UTF8",
        )
        connection.execute("SET TIME ZONE 'UTC'")
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"WAREHOUSE_DSN: {_first_line(error)}") from None
    except psycopg.OperationalError as error:
        # libpq gives no SQLSTATE for a failed connection: a role or database that is missing looks like a
        # server that is down, and both may appear later.
        raise TransientError(f"the warehouse does not answer: {_first_line(error)}") from error
    return connection


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn psycopg's errors into TransientError, ConfigurationError, RefusedDataError or StoppedError."""
    try:
        yield
    except _CONFIGURATION_ERRORS as error:
        raise ConfigurationError(
            f"the warehouse refuses: {_first_line(error)}; run `crmbot-consumer migrate` or grant the rights"
        ) from error
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        # The client refuses some values itself, such as a text with NUL, and gives no SQLSTATE.
        state = error.sqlstate or "no SQLSTATE"
        raise RefusedDataError(f"the warehouse refuses the data ({state}): {_first_line(error)}") from error
    except psycopg.Error as error:
        state = error.sqlstate or "08000"
        if state.startswith(_TRANSIENT_CLASSES) or isinstance(error, psycopg.InterfaceError):
            raise TransientError(f"the warehouse failed: {_first_line(error)}") from error
        raise StoppedError(f"the warehouse refuses the data ({state}): {_first_line(error)}") from error


@contextmanager
def snapshot(settings: WarehouseSettings, *, is_read_only: bool = False) -> Iterator[Connection]:
    """Connect, and yield a REPEATABLE READ transaction: all reads see one snapshot.

    Raises what `connect` and `translated_errors` raise.
    """
    with translated_errors(), connect(settings) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = is_read_only
        with connection.transaction():
            yield connection


def is_greenplum(connection: Connection) -> bool:
    """Tell Greenplum and its forks from PostgreSQL, by what the server reports and not by its brand."""
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
