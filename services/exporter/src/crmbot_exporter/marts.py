r"""The marts: builds them from `sql/marts/` in the warehouse, publishes and fetches them.

Each file builds one mart: CREATE TABLE crm_bot_mart_<file's name>_:build, then INSERT … SELECT from the MRF's
tables or from other marts. By hand, with build = mrf, in dependency order:

    psql -1 -v mrf=mrf1 -v build=mrf1 -v timezone=Europe/Moscow -v day=2026-03-31 -v run= \
         -f sql/storage/postgresql.sql -f sql/marts/report.sql -f sql/marts/actions_activity.sql

Two exports of one MRF may run concurrently, without a lock between them. Each builds its tables under unique
names in its own transaction. Only publishing (drop the old table, rename the new one) takes the mart's ACCESS
EXCLUSIVE lock, at the end of the transaction. The second export waits for it, then fails because its snapshot
is older than the published marts, or, if there were none before, because their names are taken; it is
retried. So readers see the old table or the new one, and a killed export leaves no tables behind. Locking the
stream's table would work too, but needs the UPDATE privilege on that table, and the exports of one MRF would
wait for each other's workbooks.

Dropping a mart drops its grants: grant readers access with ALTER DEFAULT PRIVILEGES.
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
    """The marts of one MRF: published ones, or new ones that only their transaction sees."""

    mrf: str
    suffix: str
    names: tuple[str, ...]

    def table(self, name: str) -> str:
        """Return the name of a mart's table in the warehouse."""
        return f"crm_bot_mart_{name}_{self.suffix}"


@dataclass(frozen=True)
class Wanted:
    """Which marts to build: the MRF, the time zone of its days, and the last day (None: the newest row's).

    `run` is the run of the DAG that builds them, by which its other tasks recognize them; empty by hand.
    """

    mrf: str
    timezone: str
    day: date | None = None
    run: str = ""


def published(mrf: str) -> Marts:
    """Return the marts of an MRF that readers see."""
    return Marts(mrf, mrf, ())


def build(connection: Connection, sql_dir: Path, wanted: Wanted) -> Marts:
    """Build the marts in the caller's transaction, under unique names.

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
        # The planner needs its statistics for the marts that read it.
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(made.table(name))))
    return made


def build_order(scripts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the marts' names in dependency order: each after those that its script reads."""
    used = {name: set(_MART.findall(scripts[name])) & scripts.keys() - {name} for name in sorted(scripts)}
    return tuple(TopologicalSorter(used).static_order())


def publish(connection: Connection, made: Marts) -> None:
    """Replace the published marts with the new ones; readers see them once the caller's transaction commits.

    Raises:
        TransientError: if a reader locks a mart for too long, or another export has just published it.
    """
    try:
        # While this waits for a reader, all later readers queue behind it.
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
    """Lock the published marts of an MRF against replacement until the caller's transaction ends.

    Call it before the transaction's first read, so that the snapshot is not older than the marts. It waits
    for an export that is publishing; the next export waits at this mart, which it replaces first.
    """
    table = sql.Identifier(published(mrf).table(_REPORT))
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table))


def fetch(connection: Connection, table: str, order: str = "") -> pd.DataFrame:
    """Return a mart's rows; values are Python objects (Decimal, date, …), None for NULL."""
    ordered = f" ORDER BY {order}" if order else ""
    query = sql.SQL(f"SELECT * FROM {{}}{ordered}").format(sql.Identifier(table))
    cursor = connection.execute(query)
    names = [column.name for column in cursor.description or ()]
    return pd.DataFrame(cursor.fetchall(), columns=names, dtype=object)


def read_report(connection: Connection, zone: ZoneInfo, built: Marts) -> Report:
    """Return the report of the marts: their MRF, days, and the offsets up to which the topics were loaded."""
    (days,) = records(fetch(connection, built.table(_REPORT)))
    offsets = fetch(connection, built.table("offsets")).itertuples(index=False, name=None)
    known = Days(**{name: days[name] for name in Days.__dataclass_fields__}) if days["day"] else None
    return Report(built.mrf, zone, known, tuple(Offset(*offset) for offset in offsets))
