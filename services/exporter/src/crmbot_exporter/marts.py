r"""The marts: read from `sql/marts/`, made in the warehouse, published, fetched.

A file makes one mart: CREATE TABLE crm_bot_mart_<file's name>_:build, then INSERT … SELECT from the MRF's
tables or from other marts. By hand, with build = mrf, in the order of what they read:

    psql -1 -v mrf=mrf1 -v build=mrf1 -v timezone=Europe/Moscow -v day=2026-03-31 -v run= \
         -f sql/storage/postgresql.sql -f sql/marts/report.sql -f sql/marts/actions_activity.sql

Two exports of one MRF may run at once, without a lock between them. Each makes its tables under names of its
own, within its own transaction. Only publishing (drop the old table, rename the new one) takes the mart's
ACCESS EXCLUSIVE lock, for the moment that is left of the transaction: the second export waits for that and
finds that it has not seen what is published now, or fails on the name where there was no table yet, and is
tried again. So readers see the old table or the new one, and a killed export leaves no tables
behind. A lock on the stream's table would have served too, but it takes the right to UPDATE that table, and
the exports of one MRF would wait for each other's workbooks.

Dropping a mart drops what was granted on it: give readers theirs by ALTER DEFAULT PRIVILEGES.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from graphlib import TopologicalSorter
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
from psycopg import errors, sql

from crmbot_core import psql
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_core.warehouse import Connection, storage_clauses
from crmbot_exporter.frames import records
from crmbot_exporter.report import Days, Offset, Report

_MART = re.compile(r"\bcrm_bot_mart_(\w+?)_:build\b")
_REPORT = "report"


@dataclass(frozen=True)
class Marts:
    """The marts of one MRF: published ones, or new ones that live as long as their transaction."""

    mrf: str
    suffix: str
    names: tuple[str, ...]

    def table(self, name: str) -> str:
        return f"crm_bot_mart_{name}_{self.suffix}"


@dataclass(frozen=True)
class Wanted:
    """Which marts to make: whose, with days in which time zone, up to which day (None: the newest row's).

    `run` names the run of the DAG that makes them, so that its other tasks know them again; empty by hand.
    """

    mrf: str
    timezone: str
    day: date | None = None
    run: str = ""


def published(mrf: str) -> Marts:
    """Return the marts of an MRF that readers see."""
    return Marts(mrf, mrf, ())


def build(connection: Connection, sql_dir: Path, wanted: Wanted) -> Marts:
    """Make the marts within the caller's transaction, under names that no one else uses.

    Raises:
        ConfigurationError: if the files are missing or wrong.
    """
    paths = {path.stem: path for path in (sql_dir / "marts").glob("*.sql")}
    if _REPORT not in paths:
        raise ConfigurationError(f"{sql_dir}/marts has no {_REPORT}.sql; set SQL_DIR to the sql folder")
    names = build_order({name: path.read_text(encoding="utf-8") for name, path in paths.items()})
    made = Marts(wanted.mrf, f"{wanted.mrf}_{connection.info.backend_pid}", names)
    variables = storage_clauses(connection, sql_dir) | {
        "mrf": wanted.mrf,
        "build": made.suffix,
        "timezone": wanted.timezone,
        "day": wanted.day.isoformat() if wanted.day else "",
        "run": wanted.run,
    }
    for name in names:
        connection.execute(psql.script(paths[name], variables))
        # The marts that read it are planned by what it holds.
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(made.table(name))))
    return made


def build_order(scripts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the marts' names so that each comes after those that its script reads."""
    used = {name: set(_MART.findall(scripts[name])) & scripts.keys() - {name} for name in sorted(scripts)}
    return tuple(TopologicalSorter(used).static_order())


def publish(connection: Connection, made: Marts) -> None:
    """Put the new marts in the old ones' place; they are seen when the caller's transaction commits.

    Raises:
        TransientError: if someone holds a mart for too long, or another export has just made it.
    """
    try:
        # While this waits for a reader, all later readers wait for it.
        connection.execute("SET LOCAL lock_timeout = '30s'")
        for name in sorted(made.names, key=lambda name: name != _REPORT):  # see `hold`
            table = sql.Identifier(published(made.mrf).table(name))
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
            connection.execute(
                sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(made.table(name)), table)
            )
    except errors.LockNotAvailable as error:
        raise TransientError("a mart is being read for longer than 30 s and cannot be replaced") from error
    except (errors.UniqueViolation, errors.DuplicateTable) as error:
        raise TransientError("another export has just made the same marts") from error


def hold(connection: Connection, mrf: str) -> None:
    """Keep the published marts of an MRF in place until the end of the caller's transaction.

    To be called first in it: what is read then is not older than the marts. It waits for an export that is
    publishing, and the next one waits at this mart, which it replaces first.
    """
    table = sql.Identifier(published(mrf).table(_REPORT))
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table))


def fetch(connection: Connection, table: str, order: str = "") -> pd.DataFrame:
    """Return a mart's rows; values are Python's own (Decimal, date, …), None where there is none."""
    ordered = f" ORDER BY {order}" if order else ""
    query = sql.SQL(f"SELECT * FROM {{}}{ordered}").format(sql.Identifier(table))
    cursor = connection.execute(query)
    names = [column.name for column in cursor.description or ()]
    return pd.DataFrame(cursor.fetchall(), columns=names, dtype=object)


def read_report(connection: Connection, zone: ZoneInfo, built: Marts) -> Report:
    """Return the subject of the marts: their MRF, days, and how far the topics were loaded."""
    (days,) = records(fetch(connection, built.table(_REPORT)))
    offsets = fetch(connection, built.table("offsets")).itertuples(index=False, name=None)
    known = Days(**{name: days[name] for name in Days.__dataclass_fields__}) if days["day"] else None
    return Report(built.mrf, zone, known, tuple(Offset(*offset) for offset in offsets))
