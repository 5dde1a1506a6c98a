"""The world's state, in tables of its own in the bot's files, which the producers do not read.

actions.db has what the world is made from (`world`), the rows of the future (`world_agenda`), clients
that are new or have changed (`world_clients`), and rows on their way to nature.db (`world_outbox`). The files
have no common transaction, so a row goes to nature.db in three steps, each of which can be repeated:

    1. actions.db: the actions that are due are inserted, and the rows of nature.db put into the outbox
    2. nature.db: the outbox's rows are inserted, and the number of the last one is kept
    3. actions.db, with the next step 1: rows up to that number leave the outbox
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from crmbot_generator.files.bot_files import RandomBytes, highest_number, insert, transaction
from crmbot_generator.lives.story import Row, StreamName
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS
from crmbot_generator.world.clients import Clients
from crmbot_generator.world.state import WorldState
from crmbot_generator.world.world import OWN_NUMBERS

_TABLES = (
    "CREATE TABLE IF NOT EXISTS world (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS world_agenda (at INTEGER, number INTEGER, stream TEXT NOT NULL, "
    "row TEXT NOT NULL, PRIMARY KEY (at, number)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS world_clients (number INTEGER PRIMARY KEY, segment INTEGER NOT NULL, "
    "branch INTEGER NOT NULL, services INTEGER NOT NULL, left INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS world_outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, "
    "row TEXT NOT NULL)",
)
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_PROGRESS = "CREATE TABLE IF NOT EXISTS world_progress (number INTEGER NOT NULL)"


class StateFiles:
    """Both files, for writing what happens and for keeping the state.

    Args:
        actions, nature: the open files.
        random_bytes: for event ids.
    """

    def __init__(
        self, actions: sqlite3.Connection, nature: sqlite3.Connection, random_bytes: RandomBytes
    ) -> None:
        self._actions, self._nature = actions, nature
        self._random_bytes = random_bytes
        with transaction(actions):
            for statement in _TABLES:
                actions.execute(statement)
        with transaction(nature):
            nature.execute(_PROGRESS)
            if not nature.execute("SELECT 1 FROM world_progress").fetchone():
                nature.execute("INSERT INTO world_progress VALUES (0)")
        self._number_after_nature()

    def read(self) -> WorldState | None:
        """Return the state, None if the files have none."""
        values = {name: json.loads(value) for name, value in self._actions.execute("SELECT * FROM world")}
        if not values:
            return None
        state = WorldState(**values | {"parameters": Parameters.model_validate(values["parameters"])})
        next_lead, next_order = self.next_numbers()
        return replace(
            state, next_lead=max(state.next_lead, next_lead), next_order=max(state.next_order, next_order)
        )

    def next_numbers(self, numbers: range = OWN_NUMBERS) -> tuple[int, int]:
        """Return the numbers after those of the last lead and order that the files have of a range."""
        return (
            highest_number(self._actions, "actions", "lead_id", numbers) + 1,
            highest_number(self._nature, "nature", "order_id", numbers) + 1,
        )

    def restore_clients(self, clients: Clients) -> None:
        """Give a client master what was kept of it."""
        for number, segment, branch, services, left in self._actions.execute(
            "SELECT number, segment, branch, services, left FROM world_clients ORDER BY number"
        ):
            clients.restore(number, SEGMENTS[segment], branch, services, left)

    def plan(self, state: WorldState, rows: Iterable[Row], clients: Clients) -> None:
        """Keep rows of the future, clients that have changed, and the state, in one transaction."""
        with transaction(self._actions):
            self.add_plan(self._actions, state, rows, clients)

    @staticmethod
    def add_plan(
        connection: sqlite3.Connection, state: WorldState, rows: Iterable[Row], clients: Clients
    ) -> None:
        """Do what `plan` does within the caller's transaction."""
        (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM world_agenda").fetchone()
        connection.executemany(
            "INSERT INTO world_agenda VALUES (?, ?, ?, ?)",
            ((row.at, number + place, row.stream, _encoded(row)) for place, row in enumerate(rows, 1)),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO world_clients VALUES (?, ?, ?, ?, ?)",
            (
                (c.number, SEGMENTS.index(c.segment), c.branch.number, c.services, c.left)
                for c in clients.changes()
            ),
        )
        values = vars(state) | {"parameters": state.parameters.model_dump()}
        connection.executemany(
            "INSERT OR REPLACE INTO world VALUES (?, ?)",
            ((name, json.dumps(value)) for name, value in values.items()),
        )

    def happen(self, clock: int, now: int, limit: int) -> tuple[int, int]:
        """Write the rows that are due; return their number, and the world's time that is reached.

        Args:
            clock: the world's time; rows up to it are due.
            now: when they are recorded.
            limit: of rows; those that are left are due again.
        """
        due = self._actions.execute(
            "SELECT at, number, stream, row FROM world_agenda WHERE at <= ? ORDER BY at, number LIMIT ?",
            (clock, limit),
        ).fetchall()
        if not due:
            return 0, clock
        rows = [_decoded(at, stream, text) for at, _, stream, text in due]
        with transaction(self._actions):
            self._actions.execute("DELETE FROM world_agenda WHERE (at, number) <= (?, ?)", due[-1][:2])
            self._record(rows, now)
            reached = clock if len(due) < limit else due[-1][0]
            self._actions.execute("UPDATE world SET value = ? WHERE name = 'clock'", (json.dumps(reached),))
        self.deliver(now)
        return len(rows), reached

    def write(self, rows: Sequence[Row], now: int) -> None:
        """Write rows that are not in the agenda."""
        with transaction(self._actions):
            self._record(rows, now)
        self.deliver(now)

    def close(self) -> None:
        """Close both files."""
        self._actions.close()
        self._nature.close()

    def _record(self, rows: Sequence[Row], now: int) -> None:
        """Insert actions, and put the other rows into the outbox; those that have left it go."""
        (last,) = self._nature.execute("SELECT number FROM world_progress").fetchone()
        self._actions.execute("DELETE FROM world_outbox WHERE number <= ?", (last,))
        self._insert(self._actions, "actions", [row for row in rows if row.stream == "actions"], now)
        self._actions.executemany(
            "INSERT INTO world_outbox (at, row) VALUES (?, ?)",
            ((row.at, _encoded(row)) for row in rows if row.stream == "nature"),
        )

    def deliver(self, now: int) -> None:
        """Insert the outbox's rows into nature.db that are not there yet."""
        (last,) = self._nature.execute("SELECT number FROM world_progress").fetchone()
        waiting = self._actions.execute(
            "SELECT number, at, row FROM world_outbox WHERE number > ? ORDER BY number", (last,)
        ).fetchall()
        if not waiting:
            return
        rows = [_decoded(at, "nature", text) for _, at, text in waiting]
        with transaction(self._nature):
            self._insert(self._nature, "nature", rows, now)
            self._nature.execute("UPDATE world_progress SET number = ?", (waiting[-1][0],))

    def _insert(
        self, connection: sqlite3.Connection, stream: StreamName, rows: Sequence[Row], now: int
    ) -> None:
        insert(connection, stream, rows, [now] * len(rows), self._random_bytes)

    def _number_after_nature(self) -> None:
        """Give the outbox numbers that nature.db has not seen, though actions.db is new or was restored."""
        (last,) = self._nature.execute("SELECT number FROM world_progress").fetchone()
        given = self._actions.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'world_outbox'"
        ).fetchone()
        if last > (given[0] if given else 0):
            with transaction(self._actions):
                self._actions.execute("DELETE FROM sqlite_sequence WHERE name = 'world_outbox'")
                self._actions.execute("INSERT INTO sqlite_sequence VALUES ('world_outbox', ?)", (last,))
                self._actions.execute("UPDATE world_outbox SET number = number + ?", (last,))


def _encoded(row: Row) -> str:
    """Return a row as text; with a fault it may not be UTF-8."""
    encode = _ENCODE if row.fault is None else json.dumps
    return encode((row.values, row.lag, row.fault))


def _decoded(at: int, stream: StreamName, text: str) -> Row:
    values, lag, fault = json.loads(text)
    return Row(at, stream, tuple(values), lag, fault)
