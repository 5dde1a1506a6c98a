"""Every row of the bot's file is read, whatever SQLite lets it contain."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from crmbot_core.contracts import ACTIONS, Stub
from crmbot_core.contracts.digest import digest
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.sqlite_page import Page, event_name

SOURCE, NEXT_SOURCE = str(UUID(int=1)), str(UUID(int=2))
LIMIT = 20_000
ROW: dict[str, Any] = {
    "event_id": "event",
    "occurred_at": "2026-02-28T09:30:00.250Z",
    "recorded_at": "2026-02-28T09:30:01.000Z",
    "lead_id": "L1",
    "client_id": "C1",
    "segment": "individual",
    "manager_id": "M1",
    "manager_name": "Анна Петрова",
    "branch": "Московский филиал",
    "city": "Москва",
    "client_name": "Иван Иванов",
    "action": "call",
    "channel": "phone",
    "product": "Интернет",
    "result": "interested",
    "refusal_reason": None,
    "potential_revenue": "650.00",
}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The bot's connection to a file without rows."""
    with closing(sqlite3.connect(tmp_path / "actions.db", isolation_level=None)) as connection:
        connection.executescript(ACTIONS.sqlite_ddl)
        add_source(connection, SOURCE, 0)
        yield connection


@pytest.fixture
def file(bot: sqlite3.Connection, tmp_path: Path) -> Iterator[BotFile]:
    with closing(BotFile(tmp_path / "actions.db", ACTIONS, "mrf1")) as file:
        yield file


def add_source(bot: sqlite3.Connection, source_id: str, after: int, lost_up_to: int | None = None) -> None:
    bot.execute("INSERT INTO source VALUES (?, 'actions', 'mrf1', 1, ?, ?)", (source_id, after, lost_up_to))


def add(bot: sqlite3.Connection, **changes: object) -> None:
    """Insert a row; bytes become text, perhaps invalid UTF-8, and a memoryview becomes a BLOB."""
    row = ROW | changes
    texts = ", ".join("CAST(? AS TEXT)" if isinstance(value, bytes) else "?" for value in row.values())
    bot.execute(f"INSERT INTO actions ({', '.join(row)}) VALUES ({texts})", list(row.values()))


def read(file: BotFile, after: int = 0, rows: int = 100) -> Page:
    page = file.page(file.identities()[-1], after, rows, LIMIT)
    assert page is not None
    assert len(page.ids) == len(page.leads) == len(page.keys) == len(page.messages)
    return page


def stub_of(page: Page, position: int) -> Stub:
    return Stub.model_validate_json(b'{"kafka_partition":0,"previous_id":0,' + page.messages[position])


def text_values(transaction_id: int, **changes: object) -> list[bytes]:
    """Return the values of a row in the form used by its digest."""
    row: dict[str, object] = {
        **ROW,
        **changes,
        "schema_version": 1,
        "transaction_id": transaction_id,
        "source_id": SOURCE,
        "mrf": "mrf1",
    }
    values = [row[column.name] for column in ACTIONS.row_columns]
    return [
        bytes(value)
        if isinstance(value, bytes | memoryview)
        else b""
        if value is None
        else str(value).encode()
        for value in values
    ]


def test_a_page_of_plain_rows(bot: sqlite3.Connection, file: BotFile) -> None:
    for number in range(3):
        add(bot, event_id=f"event-{number + 1}", lead_id=f"L{number}")
    page = read(file)
    assert (page.ids, page.leads) == ([b"1", b"2", b"3"], [b"L0", b"L1", b"L2"])
    assert (page.last_id, page.last_event_id, page.not_carried) == (3, "event-3", {})
    assert page.keys == page.leads
    fields = json.loads(b"{" + page.messages[1])
    assert list(fields) == [column.name for column in ACTIONS.row_columns]
    expected = {"transaction_id": 2, "event_id": "event-2", "source_id": SOURCE, "mrf": "mrf1"}
    assert expected.items() <= fields.items()
    assert file.page(file.identities()[0], 3, 100, LIMIT) is None


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        pytest.param({"client_name": memoryview(b"\x00\xff")}, "not_text", id="BLOB"),
        pytest.param({"event_id": memoryview(b"\x00\xff")}, "not_text", id="BLOB as event_id"),
        pytest.param({"lead_id": memoryview(b"L\x00")}, "not_text", id="BLOB as lead_id"),
        pytest.param({"client_name": "я" * 1_000_000}, "too_large", id="large"),
        pytest.param({"client_name": "\x01" * 4_000}, "too_large", id="large as JSON"),
        pytest.param({"event_id": "e" * 30_000}, "too_large", id="large event_id"),
    ],
)
def test_a_row_that_cannot_be_carried_is_a_stub(
    bot: sqlite3.Connection, file: BotFile, odd: dict[str, object], reason: str
) -> None:
    add(bot, event_id="before")
    add(bot, **odd)
    add(bot, event_id="after")
    page = read(file)
    assert page.not_carried == {2: reason}
    values = text_values(2, **odd)
    stub = stub_of(page, 1)
    assert (stub.transaction_id, stub.source_id, stub.stub) == (2, SOURCE, reason)
    assert (stub.size, stub.digest) == (len(b"\x1f".join(values)), digest(values))
    assert [json.loads(b"{" + page.messages[place])["event_id"] for place in (0, 2)] == [
        "before",
        "after",
    ]
    assert page.last_event_id == "after"
    lead = odd.get("lead_id", "L1")
    assert page.keys[1] == (bytes(lead) if isinstance(lead, memoryview) else b"L1")


def test_a_lead_that_is_too_long_for_a_key_still_determines_the_partition(
    bot: sqlite3.Connection, file: BotFile
) -> None:
    add(bot, lead_id="L" * 15_000)
    add(bot, lead_id="L" * 7_000)
    page = read(file)
    assert page.not_carried == {1: "too_large"}
    assert page.leads == [b"L" * 15_000, b"L" * 7_000]
    assert page.keys == [None, b"L" * 7_000]


def test_texts_that_are_not_utf8_pass_as_bytes(bot: sqlite3.Connection, file: BotFile) -> None:
    add(bot, lead_id=b"L\xff\n", client_name=b"\xd0")
    add(bot, event_id=b"\xff\xfe")
    page = read(file)
    assert page.not_carried == {}
    assert page.keys == [b"L\xff\n", b"L1"]
    assert b'"client_name":"\xd0"' in page.messages[0]
    assert page.last_event_id == file.event_id(2) == "\udcff\udcfe"


def test_a_page_of_large_rows_ends_early(
    bot: sqlite3.Connection, file: BotFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crmbot_producer.sqlite_page._PAGE_BYTES", 50_000)
    monkeypatch.setattr("crmbot_producer.sqlite_page._ROW_BYTES", 1)
    for _ in range(10):
        add(bot, client_name="x" * 9_000)
    first = read(file)
    second = read(file, first.last_id)
    assert [*first.ids, *second.ids] == [b"%d" % (number + 1) for number in range(len(first.ids) * 2)][:10]
    assert 1 < len(first.ids) < 10
    assert (first.not_carried, second.not_carried) == ({}, {})


def test_a_long_event_id_is_replaced_by_its_digest() -> None:
    assert event_name(b"e" * 200) == "e" * 200
    assert len(event_name(b"e" * 1_000_000)) < 50
    assert event_name(b"e" * 201) != event_name(b"e" * 202)


def test_identities_with_the_same_start_are_in_insertion_order(
    bot: sqlite3.Connection, file: BotFile
) -> None:
    add_source(bot, NEXT_SOURCE, 0)
    bot.execute("UPDATE source SET lost_up_to = 7 WHERE source_id = ?", (SOURCE,))
    assert file.identities() == [Identity(SOURCE, 0, 0, 7), Identity(NEXT_SOURCE, 0, 2**63 - 1)]


@pytest.mark.parametrize("source_id", ["not a UUID", b"\xff"])
def test_a_source_id_is_a_uuid(bot: sqlite3.Connection, file: BotFile, source_id: str | bytes) -> None:
    bot.execute("UPDATE source SET source_id = CAST(? AS TEXT)", (source_id,))
    with pytest.raises(ConfigurationError, match="is not a lower-case UUID"):
        file.identities()


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_all_reads_in_a_snapshot_see_one_state(bot: sqlite3.Connection, file: BotFile, journal: str) -> None:
    bot.execute(f"PRAGMA journal_mode = {journal}")
    bot.execute("PRAGMA busy_timeout = 0")
    add(bot)
    with file.snapshot():
        (identity,) = file.identities()
        if journal == "WAL":
            add(bot)
            add_source(bot, NEXT_SOURCE, 1)
        else:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                add(bot)
        assert file.identities() == [identity]
        assert file.newest_id() == 1
    add(bot)
    assert file.newest_id() > 1


def test_an_error_ends_the_snapshot(bot: sqlite3.Connection, file: BotFile) -> None:
    bot.execute("DELETE FROM source")
    with pytest.raises(TransientError, match="half made"), file.snapshot():
        file.identities()
    add(bot)
    with file.snapshot():
        assert file.newest_id() == 1


def test_a_replaced_file_is_opened_again(bot: sqlite3.Connection, file: BotFile, tmp_path: Path) -> None:
    (tmp_path / "actions.db").rename(tmp_path / "old.db")
    with pytest.raises(TransientError, match="is not the file that was opened"), file.snapshot():
        pass


def test_a_copy_written_over_the_file_is_noticed(
    bot: sqlite3.Connection, file: BotFile, tmp_path: Path
) -> None:
    path = tmp_path / "actions.db"
    bot.execute("PRAGMA journal_mode = WAL")
    add(bot)
    bot.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = path.read_bytes()
    for rows in (1, 2):
        with file.snapshot():
            assert file.newest_id() == rows
        add(bot)
    bot.close()
    path.write_bytes(copy)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    with pytest.raises(TransientError, match="is not the file that was opened"), file.snapshot():
        pass


def test_a_view_may_have_null_in_required_columns(bot: sqlite3.Connection, file: BotFile) -> None:
    """View columns cannot be NOT NULL: the consumer rejects such a row, and it blocks no other."""
    add(bot, event_id="1")
    add(bot, event_id="2", lead_id="")
    add(bot, event_id="3", client_name="")
    columns = ", ".join(
        f"nullif({column.name}, '') AS {column.name}" if column.name != "transaction_id" else column.name
        for column in ACTIONS.sqlite_columns
    )
    bot.executescript(
        f"ALTER TABLE actions RENAME TO own; CREATE VIEW actions AS SELECT 'x' AS reason, {columns} FROM own"
    )
    for limit in (LIMIT, 1_000):  # in one step, and row by row
        page = file.page(file.identities()[-1], 0, 100, limit)
        assert page is not None
        assert (page.ids, page.leads, page.not_carried) == ([b"1", b"2", b"3"], [b"L1", b"", b"L1"], {})
        assert json.loads(b"{" + page.messages[1])["lead_id"] is None
        assert json.loads(b"{" + page.messages[2])["client_name"] is None
    bot.execute("UPDATE own SET event_id = '' WHERE transaction_id = 3")
    assert (file.newest_id(), file.event_id(3), read(file).last_event_id) == (3, "", "")
    assert [event for _, event, _ in file.digests(file.identities()[-1])] == ["1", "2", ""]
    assert list(file.event_ids(file.identities()[-1])) == [(1, "1"), (2, "2"), (3, "")]
