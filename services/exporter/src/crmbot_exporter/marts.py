r"""The marts: read from `sql/marts/`, made in the warehouse, published, fetched.

A file makes one mart: CREATE TABLE crm_bot_mart_<file's name>_:build, then INSERT … SELECT from the stream's
table or from other marts of the stream. By hand, with build = mrf:

    psql -1 -v mrf=mrf1 -v build=mrf1 -v timezone=Europe/Moscow \
         -f sql/storage/postgresql.sql -f sql/marts/actions_daily.sql

Two exports of one MRF may run at once, without a lock between them. Each makes its tables under names of its
own, within its own transaction. Only publishing (drop the old table, rename the new one) takes the mart's
ACCESS EXCLUSIVE lock, for the moment that is left of the transaction: the second export waits for that, finds
the first one's table under the mart's name and replaces it. Where there was no table yet, it fails on the
name and is tried again. So readers see the old table or the new one, and a killed export leaves no tables
behind. A lock on the stream's table would have served too, but it takes the right to UPDATE that table, and
the exports of one MRF would wait for each other's workbooks.

Dropping a mart drops what was granted on it: give readers theirs by ALTER DEFAULT PRIVILEGES.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pandas as pd
from psycopg import errors, sql

from crmbot_core import psql
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_core.warehouse import Connection, storage_clauses

_MART = re.compile(r"\bcrm_bot_mart_(\w+?)_:build\b")


@dataclass(frozen=True)
class Build:
    """Marts of one stream that have been made and not yet published; lives as long as its transaction."""

    mrf: str
    suffix: str
    names: tuple[str, ...]

    def table(self, name: str) -> str:
        return f"crm_bot_mart_{name}_{self.suffix}"


def published_table(name: str, mrf: str) -> str:
    """Return the table of a published mart."""
    return f"crm_bot_mart_{name}_{mrf}"


def build(connection: Connection, sql_dir: Path, stream: str, mrf: str, timezone: str) -> Build:
    """Make the stream's marts within the caller's transaction, under names that no one else uses.

    Raises:
        ConfigurationError: if the files are missing or wrong.
    """
    paths = {path.stem: path for path in (sql_dir / "marts").glob(f"{stream}_*.sql")}
    if not paths:
        raise ConfigurationError(f"{sql_dir}/marts has no {stream}_*.sql; set SQL_DIR to the sql folder")
    names = build_order({name: path.read_text(encoding="utf-8") for name, path in paths.items()})
    made = Build(mrf, f"{mrf}_{connection.info.backend_pid}", names)
    variables = storage_clauses(connection, sql_dir) | {
        "mrf": mrf,
        "build": made.suffix,
        "timezone": timezone,
    }
    for name in names:
        connection.execute(psql.script(paths[name], variables))
    return made


def build_order(scripts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the marts' names so that each comes after those that its script reads."""
    used = {name: set(_MART.findall(scripts[name])) & scripts.keys() - {name} for name in sorted(scripts)}
    return tuple(TopologicalSorter(used).static_order())


def publish(connection: Connection, made: Build) -> None:
    """Put the new marts in the old ones' place; they are seen when the caller's transaction commits.

    Raises:
        TransientError: if someone holds a mart for too long, or another export has just made it.
    """
    try:
        # While this waits for a reader, all later readers wait for it.
        connection.execute("SET LOCAL lock_timeout = '30s'")
        for name in made.names:
            table = sql.Identifier(published_table(name, made.mrf))
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
            connection.execute(
                sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(made.table(name)), table)
            )
    except errors.LockNotAvailable as error:
        raise TransientError("a mart is being read for longer than 30 s and cannot be replaced") from error
    except (errors.UniqueViolation, errors.DuplicateTable) as error:
        raise TransientError("another export has just made the same marts") from error


def fetch(connection: Connection, table: str, order: str) -> pd.DataFrame:
    """Return a mart's rows; values are Python's own (Decimal, date, …), None where there is none."""
    ordered = f" ORDER BY {order}" if order else ""
    query = sql.SQL(f"SELECT * FROM {{}}{ordered}").format(sql.Identifier(table))
    cursor = connection.execute(query)
    names = [column.name for column in cursor.description or ()]
    return pd.DataFrame(cursor.fetchall(), columns=names, dtype=object)
