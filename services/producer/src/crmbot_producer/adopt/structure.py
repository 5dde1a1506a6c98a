"""Structure of a file: the stream's table or view, its columns, and the table that its ids come from."""

import re
import sqlite3
from dataclasses import dataclass, replace

from crmbot_core.contracts import Stream
from crmbot_producer.adopt.mismatch import NEW_UUID, Mismatch, quoted

_RANGE = re.compile(r"SEARCH .* USING INTEGER PRIMARY KEY \(rowid>\? AND rowid<\?\)")
_SORTS = ("TEMP B-TREE FOR ORDER BY", "CO-ROUTINE", "MATERIALIZE", "COMPOUND QUERY")
# Without any condition.
_NO_DELETE = re.compile(
    r"BEFORE\s+DELETE\s+ON\s+\S.*?\sBEGIN\s+SELECT\s+RAISE\s*\(\s*(ABORT|FAIL|ROLLBACK)\s*,\s*'[^']*'\s*\)\s*;",
    re.I | re.S,
)


@dataclass(frozen=True)
class Mapped:
    """The stream's table or view in the bot's file.

    Attributes:
        name: the stream's name.
        is_view: whether it is a view.
        columns: the declared types of its columns, by lower-case name.
        id_table: the table whose INTEGER PRIMARY KEY is the transaction_id, None if there is none.
        id_column: that column of the table; None if the table has only SQLite's implicit rowid.
        other_tables: other tables that a view reads.
    """

    name: str
    is_view: bool
    columns: dict[str, str]
    id_table: str | None = None
    id_column: str | None = None
    other_tables: tuple[str, ...] = ()

    def new_event_ids(self) -> str:
        """Return the SQL that gives each row of the table a permanent UUID."""
        table, id_column = quoted(self.id_table or self.name), quoted(self.id_column or "rowid")
        column = "crmbot_event_id" if self.is_view else "event_id"
        trigger = quoted(f"{self.id_table}_event_id")
        is_double = (
            "" if self.is_view else f" OR rowid NOT IN (SELECT min(rowid) FROM {table} GROUP BY event_id)"
        )
        return (
            "give every row a permanent UUID: "
            + (f"ALTER TABLE {table} ADD COLUMN {column} TEXT; " if self.is_view else "")
            + f"UPDATE {table} SET {column} = {NEW_UUID} WHERE {column} IS NULL{is_double}; "
            f"CREATE TRIGGER {trigger} AFTER INSERT ON {table} WHEN new.{column} IS NULL BEGIN "
            f"UPDATE {table} SET {column} = {NEW_UUID} WHERE {id_column} = new.{id_column}; END;"
            + (f" and in the view: {column} AS event_id" if self.is_view else "")
        )


def found(connection: sqlite3.Connection, stream: Stream) -> Mapped | None:
    """Return the stream's table or view, None if there is none.

    Raises:
        sqlite3.OperationalError: it is a view that cannot be read.
    """
    row = connection.execute(
        "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
        (stream.name,),
    ).fetchone()
    if row is None:
        return None
    columns = connection.execute(f"PRAGMA table_xinfo({stream.name})").fetchall()
    declared = {name.lower(): kind for _, name, kind, *_ in columns}
    mapped = Mapped(stream.name, row[0] == "view", declared)
    if any(column.name not in declared for column in stream.sqlite_columns):
        return mapped
    id_table, others = _tables(connection, stream)
    id_column = _id_column(connection, id_table) if id_table else None
    return replace(mapped, id_table=id_table, id_column=id_column, other_tables=others)


def id_mismatches(connection: sqlite3.Connection, mapped: Mapped) -> list[Mismatch]:
    """Return the mismatches of the ids: pages are read by id, and no id may ever be reused."""
    if mapped.id_table is None:
        return [
            Mismatch(
                "transaction_id: rows cannot be read in its order by a primary key, so every look at the "
                "file would read and sort all of it",
                "let it be the INTEGER PRIMARY KEY of one table, as it is, and the view a SELECT … FROM that "
                "table LEFT JOIN others, without DISTINCT, GROUP BY and UNION",
            )
        ]
    table = quoted(mapped.id_table)
    if mapped.id_column is None:
        return [
            Mismatch(
                f"transaction_id: {mapped.id_table} has no INTEGER PRIMARY KEY, and VACUUM may number its "
                "rows anew",
                "make the table again with a column id INTEGER PRIMARY KEY AUTOINCREMENT: docs/own-bot.md",
            )
        ]
    triggers = connection.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (mapped.id_table,)
    )
    if _has_autoincrement(connection, table) or any(map(_keeps_rows, triggers)):
        return []
    trigger = quoted(f"{mapped.id_table}_keep")
    return [
        Mismatch(
            f"transaction_id: {mapped.id_table} has no AUTOINCREMENT, so the ids of its newest rows are "
            "given again once these are deleted",
            f"forbid that: CREATE TRIGGER {trigger} BEFORE DELETE ON {table} BEGIN "
            "SELECT RAISE(ABORT, 'rows of this table are kept'); END;",
        )
    ]


def _has_autoincrement(connection: sqlite3.Connection, table: str) -> bool:
    """Tell by what an INSERT would open; the table's SQL may say AUTOINCREMENT in a comment, too."""
    sequence = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_sequence'"
    ).fetchone()
    program = connection.execute(f"EXPLAIN INSERT INTO {table} DEFAULT VALUES").fetchall()
    return sequence is not None and any(step[1] == "OpenWrite" and step[3] == sequence[0] for step in program)


def _keeps_rows(trigger: tuple[str]) -> bool:
    (sql,) = trigger
    match = _NO_DELETE.search(sql)
    return match is not None and re.search(r"\bWHEN\b", sql[: match.end()], re.I) is None


def encoding_mismatches(connection: sqlite3.Connection) -> list[Mismatch]:
    """Return a mismatch if the database's text is not UTF-8."""
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding == "UTF-8":
        return []
    return [
        Mismatch(
            f"encoding: {encoding}, and messages are UTF-8",
            "stop the bot and make the file again: sqlite3 OLD .dump | sqlite3 NEW",
        )
    ]


def journal_mismatches(connection: sqlite3.Connection) -> list[Mismatch]:
    """Return a mismatch if the database is not in WAL mode."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        return []
    return [
        Mismatch(
            f"journal_mode: {mode}, in which the bot and the producer wait for each other",
            "PRAGMA journal_mode = WAL;",
        )
    ]


def _tables(connection: sqlite3.Connection, stream: Stream) -> tuple[str | None, tuple[str, ...]]:
    """Return the table whose rowid SQLite's plan reads a page by, and the other tables that are read."""
    columns = ", ".join(column.name for column in stream.sqlite_columns)
    page = (
        f"SELECT {columns} FROM {stream.name} WHERE transaction_id > ? AND transaction_id <= ? "
        "ORDER BY transaction_id LIMIT ?"
    )
    steps = connection.execute(f"EXPLAIN QUERY PLAN {page}", (0, 1, 1)).fetchall()
    plan = [step[-1] for step in steps if step[1] == 0]  # without the subqueries of columns
    # The plan has only the tables' aliases; the bytecode opens tables by their root pages.
    bytecode = connection.execute(f"EXPLAIN {page}", (0, 1, 1)).fetchall()
    opened = {operation[2]: operation[3] for operation in bytecode if operation[1] == "OpenRead"}
    names = dict(connection.execute("SELECT rootpage, tbl_name FROM sqlite_master WHERE rootpage > 0"))
    id_table = None
    if _RANGE.match(plan[0]) and not any(word in step for step in plan for word in _SORTS):
        cursor = next(operation[2] for operation in bytecode if operation[1].startswith("SeekG"))
        id_table = names[opened[cursor]]
    others = {names[root] for root in opened.values() if root in names} - {id_table}
    return id_table, tuple(sorted(others))


def _id_column(connection: sqlite3.Connection, table: str) -> str | None:
    """Return a table's INTEGER PRIMARY KEY, None if it has none."""
    keys = [row[1:3] for row in connection.execute(f"PRAGMA table_info({quoted(table)})") if row[5]]
    if len(keys) != 1 or keys[0][1].upper() != "INTEGER":
        return None
    return str(keys[0][0])
