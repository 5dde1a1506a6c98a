"""The audit is clean only if the warehouse has exactly the rows of the file."""

import itertools
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from crmbot_producer.audit.result import StreamAudit
from crmbot_producer.cli import cli
from devstack.postgres import Postgres
from tests.integration.loaded import SOURCE, LoadedPipeline, as_bytes

OTHER = "0b57aaaa-4d4e-4d0c-9d0c-6d6f3f0f2a22"
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    """A separate database: the MRFs of other tests have the same names."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE audited")
    return make_conninfo(postgres.dsn, dbname="audited")


@pytest.fixture
def pipeline(dsn: str, tmp_path: Path) -> LoadedPipeline:
    return LoadedPipeline(dsn, f"mrf{next(_NUMBERS)}", tmp_path).set_up()


@pytest.fixture
def loaded(pipeline: LoadedPipeline) -> LoadedPipeline:
    """Thirty rows in the file and in the table."""
    pipeline.write(range(1, 31))
    pipeline.load(range(1, 31))
    return pipeline


def kinds(result: StreamAudit) -> dict[str, int]:
    return dict(result.counts.items())


def put(loaded: LoadedPipeline, message: dict[str, Any], offset: int) -> object:
    """Insert a row that was never sent; the return value is for use in a lambda."""
    loaded.insert(message, offset)
    return message


def row(loaded: LoadedPipeline, number: int) -> dict[str, Any]:
    """Return a row of the table as a message with another event_id."""
    names = [
        name
        for (name,) in loaded.query(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", loaded.topic
        )
    ]
    ((*values,),) = loaded.query("SELECT * FROM {actions} WHERE transaction_id = %s", number)
    found = dict(zip(names, values, strict=True))
    del found["kafka_offset"], found["loaded_at"]
    return found | {"event_id": str(uuid4())}


def test_an_intact_warehouse_is_clean(loaded: LoadedPipeline) -> None:
    for result in (loaded.audit(), loaded.audit_warehouse()):
        assert result.is_clean, result
        assert (result.counts, result.notes, result.rows_in_warehouse) == ({}, [], 30)
    assert loaded.audit().rows_in_file == 30
    assert loaded.audit_warehouse().rows_in_file is None


# Changes made to the table by hand, and what the audit reports.
TAMPERING: dict[str, tuple[Callable[[LoadedPipeline], object], dict[str, int]]] = {
    "a row is missing": (
        lambda pipeline: pipeline.query("DELETE FROM {actions} WHERE transaction_id = 7"),
        {"missing": 1},
    ),
    "a forged row in place of a missing one": (
        lambda pipeline: (
            forged := row(pipeline, 7),
            pipeline.query("DELETE FROM {actions} WHERE transaction_id = 7"),
            put(pipeline, forged, 6),
        ),
        {"missing": 1, "extra": 1},
    ),
    "a forged row beside the real one": (lambda pipeline: put(pipeline, row(pipeline, 7), 6), {"extra": 1}),
    "ids above the newest": (
        lambda pipeline: [
            put(pipeline, row(pipeline, 7) | {"transaction_id": id_}, 99) for id_ in (31, 2**62)
        ],
        {"extra": 2},
    ),
    "ids below 1": (
        lambda pipeline: [put(pipeline, row(pipeline, 7) | {"transaction_id": id_}, 99) for id_ in (0, -1)],
        {"extra": 2},
    ),
    "a row twice": (
        lambda pipeline: pipeline.query(
            "INSERT INTO {actions} SELECT * FROM {actions} WHERE transaction_id = 7"
        ),
        {"twice": 1},
    ),
    "its event under another source": (
        lambda pipeline: pipeline.query(
            "UPDATE {actions} SET source_id = %s WHERE transaction_id = 7", OTHER
        ),
        {"missing": 1},
    ),
    "other values": (
        lambda pipeline: pipeline.query(
            "UPDATE {actions} SET refusal_reason = NULL WHERE transaction_id = 8"
        ),
        {"changed": 1},
    ),
    "another time": (
        lambda pipeline: pipeline.query(
            "UPDATE {actions} SET occurred_at = occurred_at + interval '1 ms' WHERE transaction_id = 8"
        ),
        {"changed": 1},
    ),
    "two rows have swapped ids": (
        lambda pipeline: pipeline.query(
            "UPDATE {actions} SET transaction_id = 15 - transaction_id WHERE transaction_id IN (7, 8)"
        ),
        {"missing": 2, "extra": 2},
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_a_table_that_was_tampered_with_is_not_clean(loaded: LoadedPipeline, name: str) -> None:
    tamper, found = TAMPERING[name]
    tamper(loaded)
    result = loaded.audit()
    assert not result.is_clean
    assert kinds(result) == found
    assert {example.kind for example in result.examples} == found.keys()


def test_a_forged_dead_letter_does_not_account_for_a_missing_row(loaded: LoadedPipeline) -> None:
    loaded.query("DELETE FROM {actions} WHERE transaction_id = 7")
    forged = {"transaction_id": 7, "source_id": SOURCE}
    for value in (as_bytes(forged), b"[" * 100_000, b'{"stub":1e999}', b"\xff"):
        loaded.foreign(value, **forged)
    result = loaded.audit()
    assert (kinds(result), result.foreign) == ({"missing": 1}, 4)


def test_a_row_is_accounted_for_by_its_dead_letter(pipeline: LoadedPipeline) -> None:
    pipeline.write(range(1, 31))
    pipeline.load(range(1, 31), rejected=lambda number: number % 10 == 7)
    result = pipeline.audit()
    assert result.is_clean, result
    assert (kinds(result), result.rejected, result.foreign) == ({"rejected": 3}, 3, 0)
    assert pipeline.audit_warehouse().is_clean


def test_foreign_dead_letters_are_ignored(loaded: LoadedPipeline) -> None:
    for value in (b"[" * 100_000, b'{"transaction_id":1e999}', b"", b"\x00", b'{"a":' + b"9" * 5000 + b"}"):
        loaded.foreign(value)
    loaded.foreign(b"{}", source_id=OTHER, transaction_id=3, previous_id=2)
    for result in (loaded.audit(), loaded.audit_warehouse()):
        assert result.is_clean, result
        assert result.rejected == 6


def test_rows_that_are_not_utf8_may_be_dead_letters(loaded: LoadedPipeline) -> None:
    loaded.write([31])
    loaded.in_file("UPDATE actions SET city = CAST(x'41ff42' AS TEXT) WHERE transaction_id = 31")
    (message,) = ({**m, "city": "A\udcffB"} for m in loaded_messages(loaded))
    value = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape")
    loaded.dead_letter(value, loaded.next_offset(message["kafka_partition"]), message, is_link=True)
    result = loaded.audit()
    assert result.is_clean, result
    assert kinds(result) == {"rejected": 1}


def loaded_messages(loaded: LoadedPipeline) -> list[dict[str, Any]]:
    """Return row 31's message, although one of its values is not valid UTF-8."""
    ((city,),) = loaded.in_file("SELECT hex(city) FROM actions WHERE transaction_id = 31")
    loaded.in_file("UPDATE actions SET city = 'A' WHERE transaction_id = 31")
    messages = loaded.messages([31])
    loaded.in_file(f"UPDATE actions SET city = CAST(x'{city}' AS TEXT) WHERE transaction_id = 31")
    return messages


@pytest.mark.parametrize(
    ("is_row", "is_in_place", "found"),
    [
        (True, True, {"repaired": 1}),
        (True, False, {"changed": 1}),  # the replay has not loaded a row at another offset
        (False, True, {"changed": 1}),  # the replayed dead letter is not the bot's row
    ],
)
def test_a_repaired_dead_letter_is_recognized(
    pipeline: LoadedPipeline, is_row: bool, is_in_place: bool, found: dict[str, int]
) -> None:
    pipeline.write(range(1, 31))
    pipeline.load(range(1, 31), rejected=lambda number: number == 7)
    ((partition, offset, value),) = pipeline.query(
        "SELECT kafka_partition, kafka_offset, message_value FROM crm_bot_rejects WHERE topic = {topic}"
    )
    if not is_row:
        pipeline.query("UPDATE crm_bot_rejects SET message_value = 'x' WHERE topic = {topic}")
    pipeline.replay(partition, offset, json.loads(value) | {"city": "Омск"})
    if not is_in_place:
        pipeline.query("UPDATE {actions} SET kafka_offset = kafka_offset + 500 WHERE transaction_id = 7")
    result = pipeline.audit()
    assert kinds(result) == found
    assert result.is_clean == ("repaired" in found)
    assert result.replayed == 1
    if is_in_place:
        assert pipeline.audit_warehouse().is_clean


def test_a_replay_does_not_account_for_a_missing_row(pipeline: LoadedPipeline) -> None:
    pipeline.write(range(1, 31))
    pipeline.load(range(1, 31), rejected=lambda number: number == 7)
    ((partition, offset, value),) = pipeline.query(
        "SELECT kafka_partition, kafka_offset, message_value FROM crm_bot_rejects WHERE topic = {topic}"
    )
    pipeline.replay(partition, offset, json.loads(value))
    assert pipeline.audit().is_clean
    pipeline.query("DELETE FROM {actions} WHERE transaction_id = 7")
    assert kinds(pipeline.audit()) == {"missing": 1}


def restored(loaded: LoadedPipeline, after: int, lost_up_to: int | None) -> None:
    """Delete the rows after `after`, write new ones under a new identity, and load them."""
    loaded.in_file("DELETE FROM actions WHERE transaction_id > ?", after)
    loaded.write(range(after + 1, 36))
    loaded.in_file("UPDATE source SET lost_up_to = ?", lost_up_to)
    loaded.in_file("INSERT INTO source VALUES (?, 'actions', ?, 1, ?, NULL)", OTHER, loaded.mrf, after)
    loaded.load(range(after + 1, 36), OTHER)


def test_rows_lost_by_a_restore_are_reported_as_lost(loaded: LoadedPipeline) -> None:
    restored(loaded, 20, 30)
    result = loaded.audit()
    assert result.is_clean, result
    assert kinds(result) == {"lost": 10}
    assert loaded.audit_warehouse().is_clean


@pytest.mark.parametrize("lost_up_to", [None, 25])
def test_rows_beyond_the_recorded_loss_are_extra(loaded: LoadedPipeline, lost_up_to: int | None) -> None:
    restored(loaded, 20, lost_up_to)
    result = loaded.audit()
    assert kinds(result) == ({"extra": 10} if lost_up_to is None else {"extra": 5, "lost": 5})
    assert not result.is_clean


def test_rows_sent_under_two_identities_are_reported_twice(loaded: LoadedPipeline) -> None:
    """A new identity begins before the last row that was sent."""
    loaded.in_file("UPDATE source SET lost_up_to = 30")
    loaded.in_file("INSERT INTO source VALUES (?, 'actions', ?, 1, 22, NULL)", OTHER, loaded.mrf)
    loaded.load(range(23, 31), OTHER)
    result = loaded.audit()
    assert kinds(result) == {"lost": 8, "twice": 8}
    assert not result.is_clean
    assert "twice" in {example.kind for example in loaded.audit_warehouse().examples}


def test_rows_of_a_former_source_need_the_option(loaded: LoadedPipeline) -> None:
    loaded.query("UPDATE {actions} SET source_id = %s, transaction_id = 500 WHERE transaction_id = 30", OTHER)
    loaded.in_file("DELETE FROM actions WHERE transaction_id = 30")
    loaded.query("UPDATE crm_bot_ledger SET last_ids = replace(last_ids::text, '30', '29')::json")
    result = loaded.audit()
    assert any(OTHER in promise for promise in result.broken_promises)
    assert not any(OTHER in promise for promise in loaded.audit(OTHER).broken_promises)
    assert any(OTHER in note for note in loaded.audit(OTHER).notes)


def test_a_valid_message_with_a_huge_id_is_extra(loaded: LoadedPipeline) -> None:
    loaded.write([31])
    (message,) = loaded.messages([31])
    offset = loaded.next_offset(message["kafka_partition"])
    loaded.insert(message | {"transaction_id": 2**62, "event_id": str(uuid4())}, offset)
    loaded.dead_letter(as_bytes(message), offset + 1, message, is_link=True)
    assert kinds(loaded.audit()) == {"extra": 1, "rejected": 1}
    assert not loaded.audit_warehouse().is_clean


def test_rows_of_the_file_with_ids_below_1_are_reported(loaded: LoadedPipeline) -> None:
    loaded.write([0, -5])
    assert any("2 rows of the file" in promise for promise in loaded.audit().broken_promises)


def test_accepted_losses_are_named_and_their_rows_are_missing(pipeline: LoadedPipeline) -> None:
    pipeline.write(range(1, 31))
    for message in pipeline.messages(range(1, 31)):
        if 11 <= message["transaction_id"] <= 18:
            continue
        pipeline.insert(message, pipeline.next_offset(message["kafka_partition"]))
    for partition in pipeline.last_ids:
        rows = pipeline.offsets[partition]
        pipeline.ledger_row(partition, 0, rows, 0)
    gaps = pipeline.query(
        "SELECT t.kafka_partition, (SELECT coalesce(max(transaction_id), 0) FROM {actions} b "
        "WHERE b.kafka_partition = t.kafka_partition AND b.transaction_id < t.transaction_id), previous_id "
        "FROM {actions} t WHERE previous_id BETWEEN 11 AND 18"
    )
    assert kinds(pipeline.audit_warehouse()) == {"unlinked": len(gaps)}
    for partition, after, up_to in gaps:
        pipeline.query(
            "INSERT INTO crm_bot_losses VALUES ({topic}, %s, %s, %s, %s)", partition, SOURCE, after, up_to
        )
    missing, chains = pipeline.audit(), pipeline.audit_warehouse()
    assert kinds(missing) == {"missing": 8}
    assert chains.is_clean, chains
    assert len(chains.notes) == len(missing.notes) == len(gaps) > 0


# Changes that the chains reveal, and a part of the audit's result.
CHAIN_TAMPERING: dict[str, tuple[Callable[[LoadedPipeline], object], str]] = {
    "a row is missing": (
        lambda pipeline: pipeline.query("DELETE FROM {actions} WHERE transaction_id = 7"),
        "unlinked",
    ),
    "the newest row is missing": (
        lambda pipeline: pipeline.query("DELETE FROM {actions} WHERE transaction_id = 30"),
        "chains do not end",
    ),
    "all rows of a partition are missing": (
        lambda pipeline: pipeline.query("DELETE FROM {actions} WHERE kafka_partition = 1"),
        "chains do not end",
    ),
    "the first row is missing": (
        lambda pipeline: pipeline.query("DELETE FROM {actions} WHERE transaction_id = 1"),
        "unlinked",
    ),
    "a forged row": (
        lambda pipeline: put(
            pipeline,
            row(pipeline, 7)
            | {"transaction_id": 1000, "kafka_partition": row(pipeline, 30)["kafka_partition"]},
            99,
        ),
        "unlinked",
    ),
    "a forged source": (
        lambda pipeline: put(pipeline, row(pipeline, 1) | {"source_id": OTHER, "previous_id": 0}, 99),
        "chains do not end",
    ),
    "a second first link": (
        lambda pipeline: pipeline.query("UPDATE {actions} SET previous_id = 0 WHERE transaction_id = 30"),
        "unlinked",
    ),
    "a copy in another partition": (
        lambda pipeline: put(
            pipeline,
            row(pipeline, 30)
            | {
                "event_id": event_of(pipeline, 30),
                "kafka_partition": 2 - row(pipeline, 30)["kafka_partition"] // 2,
            },
            99,
        ),
        "number of another row",
    ),
    "an event twice": (
        lambda pipeline: pipeline.query(
            "UPDATE {actions} SET event_id = %s WHERE transaction_id = 9", event_of(pipeline, 8)
        ),
        "twice",
    ),
    "a number below 1": (
        lambda pipeline: pipeline.query("UPDATE {actions} SET transaction_id = -1 WHERE transaction_id = 1"),
        "below 1",
    ),
    "a dead letter is gone": (
        lambda pipeline: pipeline.query("DELETE FROM crm_bot_rejects WHERE topic = {topic}"),
        "dead letters, there are 0",
    ),
    "a batch of the ledger is gone": (
        lambda pipeline: pipeline.query(
            "DELETE FROM crm_bot_ledger WHERE topic = {topic} AND start_offset = 0"
        ),
        "the ledger's chain",
    ),
    "a batch was counted wrong": (
        lambda pipeline: pipeline.query("UPDATE crm_bot_ledger SET rows_loaded = 1 WHERE topic = {topic}"),
        "the ledger tells of",
    ),
}


def event_of(loaded: LoadedPipeline, number: int) -> str:
    return str(loaded.query("SELECT event_id FROM {actions} WHERE transaction_id = %s", number)[0][0])


@pytest.mark.parametrize("name", CHAIN_TAMPERING)
def test_the_warehouse_only_audit_detects(pipeline: LoadedPipeline, name: str) -> None:
    tamper, word = CHAIN_TAMPERING[name]
    pipeline.write(range(1, 41))
    pipeline.load(range(1, 16), rejected=lambda number: number == 12)
    pipeline.load(range(16, 31))
    assert pipeline.audit_warehouse().is_clean
    tamper(pipeline)
    result = pipeline.audit_warehouse()
    assert any(word in promise for promise in result.broken_promises), result


def test_offsets_of_an_adopted_topic_start_at_0(loaded: LoadedPipeline) -> None:
    loaded.adopt_topic()
    assert loaded.audit().is_clean
    loaded.write(range(31, 41), lead_id="L1")
    loaded.load(range(31, 41))
    for result in (loaded.audit(), loaded.audit_warehouse()):
        assert result.is_clean, result


def test_the_audit_waits_for_rows_and_dead_letters(pipeline: LoadedPipeline) -> None:
    pipeline.write(range(1, 31))
    assert kinds(pipeline.audit()) == {"missing": 30}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(pipeline.audit, wait=30)
        pipeline.load(range(1, 31), rejected=lambda number: number == 7)
        # It need not be clean: `load` inserts the ledger's rows last.
        assert kinds(waiting.result()) == {"rejected": 1}


def test_rows_out_of_order_are_detected(loaded: LoadedPipeline) -> None:
    loaded.query("UPDATE {actions} SET kafka_offset = -kafka_offset, loaded_at = now()")
    for result in (loaded.audit(), loaded.audit_warehouse()):
        assert any("before an earlier row of their lead" in promise for promise in result.broken_promises)


# VmHWM, because a new process inherits ru_maxrss.
MEMORY = """
import re, sys
from pathlib import Path
from crmbot_core.settings import WarehouseSettings
from crmbot_producer.audit.verdict import audit
dsn, folder, mrf = sys.argv[1:]
actions, _ = audit(WarehouseSettings(warehouse_dsn=dsn), Path(folder), mrf, 0)
print(actions.is_clean, re.search("VmHWM:[^0-9]*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_dead_letters_of_a_megabyte_need_little_memory(loaded: LoadedPipeline) -> None:
    value = b'{"kafka_partition":0,"previous_id":0,"transaction_id":7,' + b"x" * 1_000_000
    start = loaded.next_offset(0)
    loaded.offsets[0] = start + 900
    loaded.query(
        "INSERT INTO crm_bot_rejects SELECT {topic}, 0, 0, %s + n, 'a reason', %s::uuid, 7, 6, false, NULL, "
        "%s FROM generate_series(0, 899) n",
        *(start, SOURCE, value),
    )
    loaded.ledger_row(0, start, 0, 900)
    command = [sys.executable, "-c", MEMORY, loaded.dsn, str(loaded.data), loaded.mrf]
    done = run(command, capture_output=True, text=True, check=True)
    is_clean, kilobytes = done.stdout.split()
    assert is_clean == "True"
    assert int(kilobytes) < 100 * 1024


@pytest.fixture
def environment(loaded: LoadedPipeline, monkeypatch: pytest.MonkeyPatch) -> LoadedPipeline:
    for name, value in (("WAREHOUSE_DSN", loaded.dsn), ("MRF", loaded.mrf), ("DATA_DIR", str(loaded.data))):
        monkeypatch.setenv(name, value)
    return loaded


def test_the_command_reports_its_findings(environment: LoadedPipeline) -> None:
    for arguments in ([], ["--warehouse-only"], ["--json"], ["--former-source", OTHER]):
        assert CliRunner().invoke(cli, ["audit", *arguments]).exit_code == 0
    environment.query("DELETE FROM {actions} WHERE transaction_id = 7")
    environment.in_file("UPDATE actions SET event_id = '[/x]' || char(27) WHERE transaction_id = 8")
    done = CliRunner().invoke(cli, ["audit"])
    assert done.exit_code == 4
    assert f"missing: source {SOURCE} transaction 7 event" in done.output
    assert r"'[/x]\x1b'" in done.output
    done = CliRunner().invoke(cli, ["audit", "--json"])
    assert done.exit_code == 4
    assert json.loads(done.stdout)["streams"][0]["counts"] == {"missing": 2, "extra": 1}
    done = CliRunner().invoke(cli, ["audit", "--warehouse-only", "--json"])
    assert done.exit_code == 4
    actions = json.loads(done.stdout)["streams"][0]
    assert (actions["clean"], actions["rows_in_file"], actions["counts"]) == (False, None, {"unlinked": 1})


def test_the_warehouse_only_audit_needs_no_file(
    environment: LoadedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATA_DIR")
    assert CliRunner().invoke(cli, ["audit", "--warehouse-only"]).exit_code == 0
    for option in (["--wait", "5"], ["--former-source", OTHER]):
        assert CliRunner().invoke(cli, ["audit", "--warehouse-only", *option]).exit_code == 2
