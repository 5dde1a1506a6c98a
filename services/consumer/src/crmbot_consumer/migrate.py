"""Creates or upgrades the warehouse's tables from the files of `sql/`."""

from pathlib import Path

from psycopg import errors

from crmbot_consumer.settings import MigrateSettings
from crmbot_core import psql
from crmbot_core.errors import ConfigurationError
from crmbot_core.warehouse import Connection, connect, storage_clauses, translated_errors

_BOOTSTRAP = "000_migrations.sql"
_ATTEMPTS = 5


def migrate(settings: MigrateSettings) -> list[str]:
    """Apply the migrations that this warehouse does not have yet; return their names.

    Idempotent and safe to run concurrently: one transaction locks the table of migrations and applies all
    files, so that the others wait and then find nothing to do.

    Raises:
        ConfigurationError: no files, a file edited after it was applied, or no right to create tables.
        TransientError: the warehouse is unavailable.
    """
    common, mrf = settings.sql_dir / "common", settings.sql_dir / "mrf"
    files = {path.name: path for path in sorted(common.glob("*.sql")) if path.name != _BOOTSTRAP}
    files |= {f"{path.name} {settings.mrf}": path for path in sorted(mrf.glob("*.sql"))}
    if not files:
        raise ConfigurationError(f"SQL_DIR: no migrations in {settings.sql_dir.absolute()}")
    with connect(settings) as connection, translated_errors():
        values = storage_clauses(connection, settings.sql_dir) | {"mrf": settings.mrf}
        _create_migrations_table(connection, psql.script(common / _BOOTSTRAP, values))
        with connection.transaction():
            connection.execute("LOCK TABLE crm_bot_migrations IN ACCESS EXCLUSIVE MODE")
            rows = connection.execute("SELECT name, checksum FROM crm_bot_migrations").fetchall()
            applied: dict[str, str | None] = dict(rows)
            for name, path in files.items():
                if applied.get(name) not in (None, psql.checksum(path)):
                    raise ConfigurationError(
                        f"{path} was edited after it was applied as {name}: restore it, and make the change "
                        "into a new file"
                    )
            missing = {name: path for name, path in files.items() if name not in applied}
            for name, path in missing.items():
                _apply(connection, name, path, values)
        return list(missing)


def _apply(connection: Connection, name: str, path: Path, values: dict[str, str]) -> None:
    connection.execute(psql.script(path, values).encode())
    connection.execute(
        "INSERT INTO crm_bot_migrations (name, checksum) VALUES (%s, %s)", (name, psql.checksum(path))
    )


def _create_migrations_table(connection: Connection, script: str) -> None:
    """Run CREATE TABLE IF NOT EXISTS, which may fail if run concurrently: a retry finds the table."""
    for attempt in range(_ATTEMPTS):
        try:
            connection.execute(script.encode())
        except (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return
