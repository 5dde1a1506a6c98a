"""The merge of file and warehouse rows agrees with a naive reference."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmbot_producer.shared_rows import FileRow, SharedRows, WarehouseRow, compare, event_id_of

ids = st.integers(1, 12)
files = st.dictionaries(ids, st.sampled_from("abc")).map(lambda rows: sorted(rows.items()))
warehouses = st.lists(st.tuples(ids, st.sampled_from(["a", "b", "c", None])), max_size=20).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)


def naively(file: list[FileRow], warehouse: list[WarehouseRow], ceiling: int) -> SharedRows:
    there: dict[int, set[str | None]] = {}
    for id_, event in warehouse:
        there.setdefault(id_, set()).add(event)
    conflicts = [id_ for id_, event in file if not {event, None} & there.get(id_, {event})]
    before = [row for row in file if not conflicts or row[0] < conflicts[0]]
    shared = [row for row in before if row[1] in there.get(row[0], set())]
    missing = [row[0] for row in before if row[0] not in there]
    complete = [row for row in before if row[0] <= ceiling and (not missing or row[0] < missing[0])]
    conflict = min(conflicts, default=None)
    behind = [row for row in file if conflict and row[0] > conflict and row[1] in there.get(row[0], set())]
    return SharedRows(
        conflict, max(shared, default=None), max(complete, default=None), min(behind, default=None)
    )


@given(files, warehouses, ids)
def test_the_merge_agrees_with_the_naive_reference(
    file: list[FileRow], warehouse: list[WarehouseRow], ceiling: int
) -> None:
    assert compare(file, warehouse, ceiling) == naively(file, warehouse, ceiling)


@pytest.mark.parametrize(
    ("file", "warehouse", "found"),
    [
        pytest.param([], [(1, "a")], SharedRows(None, None, None), id="empty file"),
        pytest.param([(1, "a")], [], SharedRows(None, None, None), id="empty warehouse"),
        pytest.param(
            [(1, "a"), (2, "b")],
            [(1, "a"), (2, "x")],
            SharedRows(2, (1, "a"), (1, "a")),
            id="the bot continued",
        ),
        pytest.param([(1, "z")], [(1, "a")], SharedRows(1, None, None), id="restored to the very start"),
        pytest.param(
            [(1, "a"), (2, "b"), (3, "c")],
            [(1, "a"), (3, "c")],
            SharedRows(None, (3, "c"), (1, "a")),
            id="the warehouse lacks one",
        ),
        pytest.param(
            [(1, "a"), (2, "b")], [(1, "a"), (2, None)], SharedRows(None, (1, "a"), (2, "b")), id="a stub"
        ),
        pytest.param(
            [(1, "a"), (2, "b")],
            [(1, "a"), (2, None), (2, "x")],
            SharedRows(None, (1, "a"), (2, "b")),
            id="a stub that was repaired",
        ),
        pytest.param(
            [(1, "a"), (2, "b"), (3, "c")],
            [(1, "a"), (2, "x"), (3, "c")],
            SharedRows(2, (1, "a"), (1, "a"), (3, "c")),
            id="no restore: they agree behind the conflict",
        ),
    ],
)
def test_examples(file: list[FileRow], warehouse: list[WarehouseRow], found: SharedRows) -> None:
    assert compare(file, warehouse) == found


@pytest.mark.parametrize(
    ("message", "event_id"),
    [
        (None, None),
        (b"", None),
        (b"[" * 100_000, None),
        (b"1e999", None),
        (b"[]", None),
        (json.dumps({"event_id": 7}).encode(), None),
        (json.dumps({"event_id": "e", "x": "9" * 5000}).encode(), "e"),
        (b'{"event_id": "e", "x": ' + b"9" * 5000 + b"}", None),
        (b'{"event_id": "\xff"}', "\udcff"),
        (b'{"event_id": "\\ud800"}', None),
        (b'{"event_id": "e", "stub": "too_large"}', None),
    ],
)
def test_messages_are_read_leniently(message: bytes | None, event_id: str | None) -> None:
    assert event_id_of(message) == event_id
