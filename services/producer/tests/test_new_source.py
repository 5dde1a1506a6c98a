"""What new-source writes to the file, and which records it closes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from crmbot_core.contracts import ACTIONS
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_producer.settings import RecoverySettings
from crmbot_producer.source_offset import SourceOffset, to_close
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.sqlite_identity import Former, Plan, add_identity

OLD = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
FORMER = "6f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a12"
END = 2**63 - 1
PRESENT = Identity(OLD, 0, END)


@pytest.fixture
def settings(tmp_path: Path) -> RecoverySettings:
    """A file with three rows, event ids 1, 2 and 3."""
    with closing(sqlite3.connect(tmp_path / "actions.db")) as connection, connection:
        connection.executescript(ACTIONS.sqlite_ddl)
        connection.execute("INSERT INTO source VALUES (?, 'actions', 'mrf1', 1, 0, NULL)", (OLD,))
        connection.execute("PRAGMA ignore_check_constraints = ON")
        names = [column.name for column in ACTIONS.sqlite_columns if column.name != "transaction_id"]
        for event in "123":
            values = [event if name == "event_id" else "1" for name in names]
            marks = ", ".join("?" * len(names))
            connection.execute(f"INSERT INTO actions ({', '.join(names)}) VALUES ({marks})", values)
    return RecoverySettings(mrf="mrf1", stream="actions", data_dir=tmp_path)


def identities(settings: RecoverySettings) -> list[Identity]:
    with closing(BotFile(settings.database, ACTIONS, "mrf1")) as file:
        return file.identities()


def test_the_file_gets_an_identity_after_the_shared_row(settings: RecoverySettings) -> None:
    add_identity(settings, Plan(PRESENT, (2, "2"), 9, {}))
    old, new = identities(settings)
    assert old == Identity(OLD, 0, 2, 9)
    assert (new.starts_after, new.ends_at, new.lost_up_to) == (2, END, None)
    add_identity(settings, Plan(new, (3, "3"), 7, {}))
    assert [(i.starts_after, i.ends_at, i.lost_up_to) for i in identities(settings)] == [
        (0, 2, 9),
        (2, 3, 7),
        (3, END, None),
    ]


def test_a_file_restored_to_its_very_start_keeps_the_old_identity_without_rows(
    settings: RecoverySettings,
) -> None:
    add_identity(settings, Plan(PRESENT, None, 9, {}))
    add_identity(settings, Plan(identities(settings)[-1], None, 5, {}))
    assert [(i.starts_after, i.ends_at, i.lost_up_to) for i in identities(settings)] == [
        (0, 0, 9),
        (0, 0, 5),
        (0, END, None),
    ]


def test_former_sources_are_identities_without_rows_before_the_new_one(settings: RecoverySettings) -> None:
    add_identity(settings, Plan(PRESENT, (2, "2"), 9, {FORMER: Former(12)}))
    old, former, new = identities(settings)
    assert (old.ends_at, old.lost_up_to) == (2, 9)
    assert former == Identity(FORMER, 2, 2, 12)
    assert new.starts_after == 2


def test_a_former_source_whose_rows_are_in_the_file_keeps_them(settings: RecoverySettings) -> None:
    add_identity(settings, Plan(PRESENT, (1, "1"), 9, {FORMER: Former(12, (2, "2"))}))
    assert [(i.starts_after, i.ends_at, i.lost_up_to) for i in identities(settings)] == [
        (0, 1, 9),
        (1, 2, 12),
        (2, END, None),
    ]


def test_lost_up_to_never_decreases(settings: RecoverySettings) -> None:
    with closing(sqlite3.connect(settings.database)) as connection, connection:
        connection.execute("UPDATE source SET lost_up_to = 20")
    add_identity(settings, Plan(PRESENT, (2, "2"), 9, {}))
    assert identities(settings)[0].lost_up_to == 20


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(PRESENT, (2, "other"), 9, {}), id="another row"),
        pytest.param(Plan(PRESENT, (4, "4"), 9, {}), id="no such row"),
        pytest.param(Plan(Identity(FORMER, 0, END), (2, "2"), 9, {}), id="another identity"),
    ],
)
def test_a_file_that_changed_since_the_plan_is_not_written(settings: RecoverySettings, plan: Plan) -> None:
    with pytest.raises(TransientError, match="has changed meanwhile; nothing is changed"):
        add_identity(settings, plan)
    assert identities(settings) == [PRESENT]


def test_a_file_that_cannot_be_written_is_a_wrong_setting(settings: RecoverySettings) -> None:
    # A format version that SQLite can only read: file modes do not stop root from writing.
    with settings.database.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03")
    with pytest.raises(ConfigurationError, match="has to be writable"):
        add_identity(settings, Plan(PRESENT, (2, "2"), 9, {}))


@pytest.mark.parametrize(
    ("record", "identity"),
    [
        pytest.param(SourceOffset(OLD, 200, "z", 3, {0: 199, 1: 200}), Identity(OLD, 0, 100, 200), id="open"),
        pytest.param(
            SourceOffset(OLD, 150, "z", 3, {0: 200}, 200),
            Identity(OLD, 0, 100, 200),
            id="closed at a row that was lost later",
        ),
        pytest.param(
            SourceOffset(OLD, 50, "f", 3, {0: 50}),
            Identity(OLD, 100, 100, 50),
            id="without rows, behind what was sent",
        ),
    ],
)
def test_open_records_of_ended_identities_have_to_be_closed(record: SourceOffset, identity: Identity) -> None:
    assert to_close([identity, PRESENT], {OLD: record}) == [identity]
    closed = SourceOffset(OLD, identity.ends_at, "e", 3, record.last_ids, 200)
    assert to_close([identity, PRESENT], {OLD: closed}) == []
