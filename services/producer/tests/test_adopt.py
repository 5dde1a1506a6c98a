"""A file with a bot's own tables, mapped by a view: each mismatch is reported, and its SQL fixes it."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from crmbot_core.contracts import ACTIONS, NATURE
from crmbot_core.errors import ConfigurationError
from crmbot_producer.adopt.adopt import Report, adopt
from crmbot_producer.adopt.mismatch import Mismatch
from crmbot_producer.settings import FileSettings
from crmbot_producer.sqlite import BotFile

TABLES = """
    CREATE TABLE employees (code TEXT PRIMARY KEY, full_name TEXT NOT NULL, office TEXT NOT NULL, town TEXT);
    CREATE TABLE touches (
        id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT, at INTEGER, saved TEXT, lead INTEGER, kind TEXT,
        employee TEXT, client TEXT, refusal TEXT, rubles REAL
    );
    INSERT INTO employees VALUES ('M1', 'Анна Петрова', 'Московский филиал', 'Москва');
"""
UID = "0b6c6a3e-9a55-4f0e-8f2e-0d8a3c1f7b"
ROW: Mapping[str, object] = {
    "at": 1_772_271_000,
    "saved": "2026-02-28T09:30:01.000Z",
    "lead": 1,
    "kind": "call",
    "employee": "M1",
    "client": "Иван",
    "refusal": None,
    "rubles": 650.0,
}
VIEW: Mapping[str, str] = {
    "transaction_id": "t.id",
    "event_id": "t.uid",
    "occurred_at": "strftime('%Y-%m-%dT%H:%M:%fZ', t.at, 'unixepoch')",
    "recorded_at": "t.saved",
    "lead_id": "'L' || t.lead",
    "client_id": "'C' || t.lead",
    "segment": "'individual'",
    "manager_id": "t.employee",
    "manager_name": "e.full_name",
    "branch": "e.office",
    "city": "e.town",
    "client_name": "t.client",
    "action": "t.kind",
    "channel": "'phone'",
    "product": "'Интернет'",
    "result": "'interested'",
    "refusal_reason": "t.refusal",
    "potential_revenue": "printf('%.2f', t.rubles)",
}
JOINED = "touches t LEFT JOIN employees e ON e.code = t.employee"


class Bot:
    """A third-party bot, and the view that its operator has created."""

    def __init__(self, folder: Path) -> None:
        self.settings = FileSettings(mrf="mrf1", stream="actions", data_dir=folder)
        self.connection = sqlite3.connect(self.settings.database, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.executescript(TABLES)
        self.view = dict(VIEW)
        self.joined = JOINED
        self.map()

    def touch(self, number: int, **changes: object) -> None:
        row = {"uid": f"{UID}{number:02}", **ROW, **changes}
        marks = ", ".join("?" * len(row))
        self.connection.execute(
            f"INSERT INTO touches ({', '.join(row)}) VALUES ({marks})", list(row.values())
        )

    def map(self, joined: str | None = None, **changes: str | None) -> None:
        """Recreate the view with other expressions; None leaves a column out."""
        self.joined = joined or self.joined
        self.view |= {name: sql for name, sql in changes.items() if sql is not None}
        self.view = {name: sql for name, sql in self.view.items() if changes.get(name, "") is not None}
        columns = ", ".join(f"{sql} AS {name}" for name, sql in self.view.items())
        self.connection.execute("DROP VIEW IF EXISTS actions")
        self.connection.execute(f"CREATE VIEW actions AS SELECT {columns} FROM {self.joined}")

    def check(self) -> Report:
        report = adopt(self.settings, check_only=True).report
        assert report is not None
        return report

    def mend(self, line: str) -> None:
        """Apply the fix in a line of the report."""
        if sql := re.search(r"\b(PRAGMA|ALTER|UPDATE|CREATE) .*;", line):
            self.connection.executescript(sql[0])
        if mapped := re.search(r"in the view: (.*) AS (\w+)$", line):
            expression, name = mapped.groups()
            was = self.view.get(name, "NULL")
            self.map(**{name: re.sub(rf"\b{name}\b", f"({was})", expression)})

    def dump(self) -> list[str]:
        return list(self.connection.iterdump())


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    bot = Bot(tmp_path)
    with closing(bot.connection):
        for number in range(3):
            bot.touch(number)
        yield bot


def test_a_bot_with_tables_of_its_own_is_adopted_once(bot: Bot) -> None:
    before = bot.dump()
    assert bot.check().mismatches == []
    assert adopt(bot.settings, check_only=True).source_id is None
    assert bot.dump() == before
    first = adopt(bot.settings)
    assert first.is_new
    adopted = bot.dump()
    assert set(before) <= set(adopted)
    assert [line for line in adopted if line not in before and "source" not in line] == []
    again = adopt(bot.settings)
    assert (again.source_id, again.is_new, again.report) == (first.source_id, False, None)
    assert bot.dump() == adopted
    with closing(BotFile(bot.settings.database, ACTIONS, "mrf1")) as file:
        (identity,) = file.identities()
        page = file.page(identity, 0, 100)
    assert identity.source_id == first.source_id
    assert page is not None
    assert page.ids == [b"1", b"2", b"3"]


def test_a_table_of_the_contract_is_adopted_without_a_view(tmp_path: Path) -> None:
    settings = FileSettings(mrf="mrf1", stream="actions", data_dir=tmp_path)
    with closing(sqlite3.connect(settings.database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(ACTIONS.sqlite_ddl + "DROP TABLE source;")
    assert adopt(settings).is_new


def test_a_file_of_another_mrf_is_rejected(bot: Bot) -> None:
    adopt(bot.settings)
    for check_only in (False, True):
        with pytest.raises(ConfigurationError, match="holds actions of mrf1"):
            adopt(bot.settings.model_copy(update={"mrf": "mrf2"}), check_only=check_only)


def test_one_database_may_hold_both_streams(bot: Bot) -> None:
    bot.settings.database.with_name("nature.db").symlink_to(bot.settings.database)
    both = [bot.settings, bot.settings.model_copy(update={"stream": "nature"})]
    first = adopt(both[0]).source_id
    with pytest.raises(ConfigurationError, match="holds actions of mrf1"):
        adopt(both[1])
    bot.connection.executescript(NATURE.sqlite_ddl[NATURE.sqlite_ddl.index(";") + 1 :])
    with pytest.raises(ConfigurationError, match="holds actions of mrf1"):
        adopt(both[1].model_copy(update={"mrf": "mrf2"}))
    second = adopt(both[1])
    assert second.is_new
    identities = []
    for settings in both:
        assert not adopt(settings).is_new
        with closing(BotFile(settings.database, settings.contract, "mrf1")) as file:
            identities.append([identity.source_id for identity in file.identities()])
    assert identities == [[first], [second.source_id]]


class Case(NamedTuple):
    """A mismatch, the start of its line in the report, and the values that only a person knows."""

    sql: str
    view: Mapping[str, str | None]
    names: str
    filled_in: Mapping[str, str] = {}


UPPER = f"upper('{UID}' || printf('%02d', t.id))"
BLOB = "CAST(t.uid AS BLOB)"
CASES = {
    "journal": Case("PRAGMA journal_mode = DELETE", {}, "journal_mode: delete"),
    "the bot's own source": Case("CREATE TABLE source (id INTEGER, name TEXT)", {}, "source: the bot has"),
    "a column is missing": Case("", {"city": None}, "city: the view has no", {"…": "'Москва'"}),
    "an optional column is missing": Case("", {"refusal_reason": None}, "refusal_reason: the view has no"),
    "seconds": Case("", {"occurred_at": "t.at"}, "occurred_at: INTEGER in 3 rows, first transaction_id 1"),
    "milliseconds": Case("", {"occurred_at": "t.at * 1000"}, "occurred_at: INTEGER in 3 rows"),
    "a float of seconds": Case("", {"occurred_at": "t.at + 0.5"}, "occurred_at: REAL in 3 rows"),
    "SQLite's times": Case(
        "UPDATE touches SET saved = '2026-02-28 09:30:01' WHERE id = 2",
        {},
        "recorded_at: TEXT of another form in 1 row, first transaction_id 2",
    ),
    "a time with an offset": Case(
        "UPDATE touches SET saved = '2026-02-28T12:30:01+03:00'", {}, "recorded_at: TEXT of another form"
    ),
    "capitals": Case("", {"event_id": UPPER}, "event_id: TEXT of another form in 3 rows"),
    "bare digits": Case("", {"event_id": "replace(t.uid, '-', '')"}, "event_id: TEXT of another form"),
    "a UUID of bytes": Case(
        "UPDATE touches SET uid = CAST(x'0b6c6a3e9a554f0e8f2e0d8a3c1f7b10' AS BLOB) WHERE id = 2",
        {},
        "event_id: BLOB in 1 row, first transaction_id 2",
    ),
    "no event_id": Case("UPDATE touches SET uid = NULL WHERE id > 1", {}, "event_id: NULL in 2 rows"),
    "a number for event_id": Case("", {"event_id": "t.id"}, "event_id: INTEGER in 3 rows"),
    "an event twice": Case(
        f"UPDATE touches SET uid = '{UID}02'", {}, "event_id: 1 value more than once, first transaction_id 1"
    ),
    "whole roubles": Case("", {"potential_revenue": "650"}, "potential_revenue: INTEGER in 3 rows"),
    "roubles of a column": Case("", {"potential_revenue": "t.rubles"}, "potential_revenue: REAL in 3 rows"),
    "a decimal comma": Case("", {"potential_revenue": "'1300,5'"}, "potential_revenue: TEXT of another form"),
    "roubles of both kinds": Case(
        "",
        {"potential_revenue": "CASE t.id WHEN 2 THEN t.rubles ELSE '1.00' END"},
        "potential_revenue: REAL in 1 row, first transaction_id 2",
    ),
    "the bot's own words": Case(
        "UPDATE touches SET kind = 'звонок' WHERE id = 3",
        {},
        "action: TEXT of another form in 1 row, first transaction_id 3",
        {"'…' THEN 'call'": "'звонок' THEN 'call'"},
    ),
    "infinite roubles": Case(
        "UPDATE touches SET rubles = 9e999 WHERE id = 2",
        {"potential_revenue": "CASE t.id WHEN 2 THEN t.rubles ELSE '1.00' END"},
        "potential_revenue: REAL in 1 row, first transaction_id 2",
        {"printf('%.2f', potential_revenue)": "'0.00'"},
    ),
    "a number for a text": Case("", {"lead_id": "t.lead"}, "lead_id: INTEGER in 3 rows"),
    "empty": Case("UPDATE touches SET client = ''", {}, "client_name: empty TEXT in 3 rows"),
    "absent": Case("UPDATE touches SET client = NULL", {}, "client_name: NULL in 3 rows"),
    "empty instead of NULL": Case(
        "UPDATE touches SET refusal = '' WHERE id = 1", {}, "refusal_reason: empty TEXT in 1 row"
    ),
    "long": Case(
        "UPDATE touches SET client = printf('%.300c', 'x') WHERE id = 1", {}, "client_name: TEXT that is too"
    ),
    "huge": Case(
        "UPDATE touches SET client = printf('%.2000000c', 'x') WHERE id = 1", {}, "client_name: TEXT that is"
    ),
    "a sign that separates": Case(
        "UPDATE touches SET client = 'a' || char(31) || 'b'", {}, "client_name: TEXT of another form"
    ),
    "a declared type, without rows": Case(
        "DELETE FROM touches", {"lead_id": "t.lead"}, "lead_id: declared INTEGER, which is not TEXT"
    ),
    "declared roubles, without rows": Case(
        "DELETE FROM touches", {"potential_revenue": "t.rubles"}, "potential_revenue: declared REAL"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_mismatch_is_reported_and_its_sql_fixes_it(bot: Bot, case: Case) -> None:
    bot.connection.executescript(case.sql)
    bot.map(**case.view)
    before = bot.dump()
    (mismatch,) = bot.check().mismatches
    line = str(mismatch)
    assert line.startswith(case.names)
    assert "Иван" not in line
    assert "звонок" not in line
    assert adopt(bot.settings).source_id is None
    assert bot.dump() == before
    for blank, value in case.filled_in.items():
        line = line.replace(blank, value)
    bot.mend(line)
    assert bot.check().mismatches == []
    assert adopt(bot.settings).is_new


def replaced_touches(bot: Bot, definition: str) -> None:
    bot.connection.executescript(
        "DROP VIEW actions; CREATE TABLE kept AS SELECT * FROM touches; DROP TABLE touches;"
        f"CREATE TABLE touches ({definition}, uid TEXT, at INTEGER, saved TEXT, lead INTEGER, kind TEXT, "
        "employee TEXT, client TEXT, refusal TEXT, rubles REAL);"
        "INSERT INTO touches SELECT * FROM kept; DROP TABLE kept;"
    )


def test_ids_that_could_be_reused_are_reported(bot: Bot) -> None:
    replaced_touches(bot, "id INTEGER PRIMARY KEY")
    bot.map()
    (mismatch,) = bot.check().mismatches
    assert str(mismatch).startswith("transaction_id: touches has no AUTOINCREMENT")
    bot.mend(str(mismatch))
    assert bot.check().mismatches == []
    with pytest.raises(sqlite3.IntegrityError, match="are kept"):
        bot.connection.execute("DELETE FROM touches")


@pytest.mark.parametrize(
    ("definition", "view", "joined", "names"),
    [
        ("id INTEGER", {"transaction_id": "t.rowid"}, JOINED, "touches has no INTEGER PRIMARY KEY"),
        ("id INTEGER UNIQUE", {}, JOINED, "rows cannot be read in its order"),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", {"transaction_id": "t.id + 1"}, JOINED, "rows cannot be"),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", {}, f"{JOINED} GROUP BY t.id", "rows cannot be"),
        (
            "id INTEGER PRIMARY KEY AUTOINCREMENT",
            {},
            "touches t LEFT JOIN (SELECT * FROM employees UNION ALL SELECT * FROM employees) e "
            "ON e.code = t.employee",
            "3 values more than once, first 1",
        ),
    ],
)
def test_ids_that_pages_cannot_be_read_by_are_reported(
    bot: Bot, definition: str, view: Mapping[str, str], joined: str, names: str
) -> None:
    replaced_touches(bot, definition)
    bot.map(joined, **view)
    assert names in "\n".join(map(str, bot.check().mismatches))


RANDOM_UUID = "lower(hex(randomblob(4)))"


@pytest.mark.parametrize(
    ("column", "expression", "problem"),
    [
        ("event_id", RANDOM_UUID, "computed from chance"),
        ("recorded_at", "strftime('%Y-%m-%dT%H:%M:%fZ', 'NOW')", "computed from the present time"),
        ("recorded_at", "replace(current_timestamp, ' ', 'T') || '.000Z'", "computed from the present time"),
    ],
)
def test_values_that_differ_each_time_are_named(bot: Bot, column: str, expression: str, problem: str) -> None:
    bot.map(**{column: expression})
    assert any(str(line).startswith(f"{column}: {problem}") for line in bot.check().mismatches)


def test_a_condition_that_time_fulfils_is_named_and_any_other_noted(bot: Bot) -> None:
    bot.map(joined=f"{JOINED} WHERE t.at < strftime('%s', 'now')")
    (line,) = map(str, bot.check().mismatches)
    assert line.startswith("actions: its condition is computed from the present time")
    bot.map(joined=f"{JOINED} WHERE t.kind = 'call'")
    report = bot.check()
    assert report.mismatches == []
    assert any("actions has a condition" in note for note in report.notes)


@pytest.mark.parametrize(
    ("key", "trigger"),
    [
        ("INTEGER PRIMARY KEY /* not AUTOINCREMENT */", ""),
        ("INTEGER PRIMARY KEY", "BEGIN SELECT RAISE(ABORT, 'no') WHERE old.id < 2; END"),
        ("INTEGER PRIMARY KEY", "WHEN old.id < 2 BEGIN SELECT RAISE(ABORT, 'no'); END"),
        ("INTEGER PRIMARY KEY", "BEGIN SELECT RAISE(IGNORE); END"),
    ],
)
def test_ids_that_only_seem_to_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, trigger: str
) -> None:
    tables = TABLES.replace("INTEGER PRIMARY KEY AUTOINCREMENT", key)
    if trigger:
        tables += f"CREATE TRIGGER keep BEFORE DELETE ON touches {trigger};"
    monkeypatch.setattr(f"{__name__}.TABLES", tables)
    bot = Bot(tmp_path)
    with closing(bot.connection):
        bot.touch(1)
        (line,) = map(str, bot.check().mismatches)
        assert "touches has no AUTOINCREMENT" in line
        if trigger:
            bot.connection.execute("DROP TRIGGER keep")
        bot.mend(line)
        assert bot.check().mismatches == []
        with pytest.raises(sqlite3.IntegrityError, match="rows of this table are kept"):
            bot.connection.execute("DELETE FROM touches")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    settings = FileSettings(mrf="mrf1", stream="actions", data_dir=tmp_path)
    with closing(sqlite3.connect(settings.database)) as connection:
        connection.executescript(
            "PRAGMA encoding = 'UTF-16'; PRAGMA journal_mode = WAL;" + ACTIONS.sqlite_ddl
        )
    report = adopt(settings, check_only=True).report
    assert report is not None
    (line,) = map(str, report.mismatches)
    assert line.startswith("encoding: UTF-16le, and messages are UTF-8")


def test_ids_below_one_are_reported(bot: Bot) -> None:
    bot.connection.execute("UPDATE touches SET id = -1 WHERE id = 1")
    (mismatch,) = bot.check().mismatches
    assert str(mismatch).startswith("transaction_id: no INTEGER from 1 in 1 row, ")


def test_texts_that_are_not_utf8_are_the_bots_to_correct(bot: Bot) -> None:
    bot.connection.execute("UPDATE touches SET client = CAST(x'd0' AS TEXT) WHERE id = 2")
    (mismatch,) = bot.check().mismatches
    assert str(mismatch).startswith("client_name: TEXT that is not UTF-8 in 1 row, first transaction_id 2")
    assert mismatch.fix.startswith("only the bot knows")


def test_a_view_that_is_absent_or_cannot_be_read(bot: Bot) -> None:
    bot.connection.execute("ALTER TABLE employees RENAME TO people")
    bot.connection.execute("DROP VIEW actions")
    (mismatch,) = bot.check().mismatches
    assert str(mismatch).startswith("actions: there is no table or view")
    assert all(f"… AS {name}" in mismatch.fix for name in VIEW)
    bot.map()
    (mismatch,) = bot.check().mismatches
    assert mismatch.problem == "actions: the view cannot be read: no such table: main.employees"


def test_the_contracts_table_with_wrong_values_is_fixed_by_updates(tmp_path: Path) -> None:
    settings = FileSettings(mrf="mrf1", stream="actions", data_dir=tmp_path)
    columns = ", ".join(name for name in VIEW if name not in ("transaction_id", "refusal_reason"))
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            f"CREATE TABLE actions (transaction_id INTEGER PRIMARY KEY AUTOINCREMENT, {columns})"
        )
        row = {**dict.fromkeys(columns.split(", "), "x"), "event_id": None, "occurred_at": 1_772_271_000}
        row |= {"recorded_at": "2026-02-28T09:30:01.000Z", "segment": "individual", "action": "call"}
        row |= {"channel": "phone", "result": "new", "potential_revenue": 5}
        for _ in range(2):
            connection.execute(
                f"INSERT INTO actions ({columns}) VALUES ({', '.join('?' * len(row))})", list(row.values())
            )
        named: set[Mismatch] = set()
        while mismatches := adopt(settings).report.mismatches:  # type: ignore[union-attr]
            assert not named & set(mismatches)
            named |= set(mismatches)
            for mismatch in mismatches:
                sql = re.search(r"\b(ALTER|UPDATE) .*;", mismatch.fix)
                assert sql is not None
                connection.executescript(sql[0])
    assert {mismatch.problem.split(":")[0] for mismatch in named} == {
        "refusal_reason",
        "event_id",
        "occurred_at",
        "potential_revenue",
    }
    assert adopt(settings).report is None


def test_ways_in_which_a_view_may_change_sent_rows_are_noted(bot: Bot) -> None:
    (note,) = bot.check().notes
    assert note.startswith("actions reads employees besides")
    bot.touch(4, employee="M9")
    bot.map("touches t JOIN employees e ON e.code = t.employee")
    assert any(note.startswith("actions leaves out 1 row of touches") for note in bot.check().notes)
