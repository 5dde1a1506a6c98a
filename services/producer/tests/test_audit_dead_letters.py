"""A dead letter is of a row only if it contains the row, byte for byte, or its digest."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crmbot_core.contracts import ACTIONS
from crmbot_core.contracts.digest import digest
from crmbot_producer.audit.compare import DeadLetter
from crmbot_producer.audit.dead_letters import is_of_row
from crmbot_producer.sqlite import BotFile, RowDigest

SOURCE = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
CHAIN = b'{"kafka_partition":2,"previous_id":41,'
# Rows that SQLite accepts, by transaction_id: their special client_name.
PLAIN, ODD_BYTES, BLOB, NUL = 1, 2, 3, 4
CLIENTS = {PLAIN: "'Иван'", ODD_BYTES: "CAST(x'41ff42' AS TEXT)", BLOB: "x'00ff'", NUL: "'a' || char(0)"}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BotFile]:
    path = tmp_path / "actions.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(ACTIONS.sqlite_ddl)
        connection.execute("INSERT INTO source VALUES (?, 'actions', 'mrf1', 1, 0, NULL)", (SOURCE,))
        for number, client in CLIENTS.items():
            values = {
                column.name: repr(column.values[0]) if column.values else f"'{column.name}'"
                for column in ACTIONS.sqlite_columns
            } | {"transaction_id": str(number), "refusal_reason": "NULL", "client_name": client}
            connection.execute(
                f"INSERT INTO actions ({', '.join(values)}) VALUES ({', '.join(values.values())})"
            )
    with closing(BotFile(path, ACTIONS, "mrf1")) as opened:
        yield opened


def row_and_json(file: BotFile, number: int) -> tuple[RowDigest, bytes | None]:
    (identity,) = file.identities()
    rows = {row.transaction_id: row for row in file.digests(identity)}
    return rows[number], file.row_json(identity, number)


def is_own(file: BotFile, number: int, value: bytes | None) -> bool:
    (identity,) = file.identities()
    row, _ = row_and_json(file, number)
    letter = DeadLetter(number, value, False, None)
    return is_of_row(letter, row, SOURCE, lambda id_: file.row_json(identity, id_))


@pytest.mark.parametrize("max_bytes", [1_000_000, 100], ids=["messages", "stubs"])
def test_the_message_or_stub_of_a_row_is_that_row(file: BotFile, max_bytes: int) -> None:
    (identity,) = file.identities()
    page = file.page(identity, 0, 10, max_bytes)
    assert page is not None
    assert len(page.not_carried) == (1 if max_bytes > 100 else len(CLIENTS))
    for number, message in zip(CLIENTS, page.messages, strict=True):
        for other in CLIENTS:
            assert is_own(file, other, CHAIN + message) == (other == number)


@pytest.mark.parametrize("number", [PLAIN, ODD_BYTES, NUL])
def test_only_the_chain_may_differ(file: BotFile, number: int) -> None:
    _, row_json = row_and_json(file, number)
    assert row_json is not None
    assert is_own(file, number, CHAIN + row_json[1:])
    assert is_own(file, number, b'{"kafka_partition":0,"previous_id":0,' + row_json[1:])
    assert not is_own(file, number, row_json)
    assert not is_own(file, number, CHAIN + row_json[1:].replace(b'"city":"c', b'"city":"C'))


def test_the_digest_is_that_of_the_message(file: BotFile) -> None:
    row, row_json = row_and_json(file, PLAIN)
    assert row_json is not None
    values = json.loads(row_json)
    assert list(values) == [column.name for column in ACTIONS.row_columns]
    assert row.digest == digest(b"" if value is None else str(value).encode() for value in values.values())


def test_a_row_that_json_cannot_hold_has_no_message(file: BotFile) -> None:
    row, row_json = row_and_json(file, BLOB)
    assert row_json is None
    stub = {
        "kafka_partition": 0,
        "previous_id": 0,
        "transaction_id": BLOB,
        "source_id": SOURCE,
        "event_id": "?",
        "stub": "not_text",
        "size": 100,
        "digest": row.digest,
    }

    def as_bytes(**changes: object) -> bytes:
        return json.dumps(stub | changes, separators=(",", ":")).encode()

    assert is_own(file, BLOB, as_bytes())
    assert not is_own(file, BLOB, as_bytes(digest="0" * 32))
    assert not is_own(file, BLOB, as_bytes(source_id="another"))
    assert not is_own(file, PLAIN, as_bytes())
    assert not is_own(file, BLOB, CHAIN + b'"transaction_id":3,"client_name":"x"}')


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"[" * 100_000,
        b'"transaction_id":1e999,"stub":"too_large"}',
        b'"stub":' + b"[" * 100_000,
        b'"stub":' + b"9" * 10_000 + b"}",
        b'"stub":"too_large","digest":null,"transaction_id":1}',
        b'"stub":"\xff"}',
        b'"transaction_id":1}',
    ],
    ids=range(8),
)
def test_other_values_are_not_the_row_and_nothing_crashes(file: BotFile, rest: bytes) -> None:
    assert not is_own(file, PLAIN, CHAIN + rest)
    assert not is_own(file, PLAIN, rest)
    assert not is_own(file, PLAIN, None)
