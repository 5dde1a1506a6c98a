"""Batch-wise preparation has the same result as a reference that processes one message at a time."""

import json
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmbot_consumer.batch import Preparation
from crmbot_consumer.chain import Orders
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.messages import Copies, Messages, PartitionBatch, RawMessage, md5_of
from crmbot_core.contracts import ACTIONS, Stub
from crmbot_core.errors import StoppedError, TransientError
from crmbot_core.ledger import Position

SOURCES = ("5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11", "7d1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a22")
PREPARE = Preparation(ACTIONS, "mrf1")
NOTHING = Copies([], [])


def message(offset: int, transaction_id: int, source: str = SOURCES[0], **changes: Any) -> RawMessage:  # noqa: ANN401
    value = {
        "kafka_partition": 0,
        "previous_id": transaction_id - 1,
        "schema_version": 1,
        "transaction_id": transaction_id,
        "event_id": str(UUID(int=transaction_id + (0 if source == SOURCES[0] else 2**64))),
        "source_id": source,
        "mrf": "mrf1",
        "occurred_at": "2026-02-28T09:30:00.250Z",
        "recorded_at": "2026-02-28T09:30:01.000Z",
        "lead_id": "L1",
        "client_id": "C1",
        "segment": "individual",
        "manager_id": "M1",
        "manager_name": "Анна",
        "branch": "Московский филиал",
        "city": "Москва",
        "client_name": "Иван",
        "action": "call",
        "channel": "phone",
        "product": "Интернет",
        "result": "interested",
        "refusal_reason": None,
        "potential_revenue": "650.00",
    } | changes
    return RawMessage(offset, b"L1", json.dumps(value, ensure_ascii=False).encode())


def columns(messages: list[RawMessage]) -> Messages:
    return Messages([m.offset for m in messages], [m.key for m in messages], [m.value for m in messages])


def prepared(
    messages: list[RawMessage], start: Position, orders: Orders | None = None, known: Copies = NOTHING
) -> PartitionBatch:
    batch = PREPARE(0, start, columns(messages), orders)
    return PREPARE.settled(batch, known)


class Outcome(NamedTuple):
    """Offsets of a batch by outcome, and the chains' ends."""

    loaded: list[int]
    rejected: list[int]
    duplicates: int
    last_ids: dict[str, int]


def one_at_a_time(messages: list[RawMessage], start: Position) -> Outcome | None:
    """Slow and simple reference; None if a gap stops the consumer."""
    last_ids = dict(start.last_ids)
    loaded: list[int] = []
    rejected: list[int] = []
    suspects: list[int] = []
    rows = [json.loads(raw.value or b"{}") for raw in messages]
    for n, row in enumerate(rows):
        source, last = row["source_id"], last_ids.get(row["source_id"], 0)
        if row["kafka_partition"] != 0:
            rejected.append(n)
        elif row["transaction_id"] <= last:
            suspects.append(n)
        elif row["previous_id"] == last:
            last_ids[source] = row["transaction_id"]
            (loaded if row["mrf"] == "mrf1" else rejected).append(n)
        elif row["previous_id"] < last or row["mrf"] != "mrf1" or is_continued(rows[n:], source, last):
            rejected.append(n)
        else:
            return None
    duplicates = 0
    for n in suspects:
        # A copy of a loaded row has the same row columns; a copy of a rejected message is the same message.
        is_row = rows[n]["mrf"] == "mrf1" and any(same_row(rows[n], rows[other]) for other in loaded)
        if is_row or any(rows[n] == rows[other] for other in rejected):
            duplicates += 1
        else:
            rejected.append(n)
    first = start.next_offset
    return Outcome([first + n for n in loaded], sorted(first + n for n in rejected), duplicates, last_ids)


def is_continued(later: list[dict[str, Any]], source: str, last: int) -> bool:
    """Return whether a valid message continues the chain after the source's last row."""
    link = {"source_id": source, "previous_id": last, "mrf": "mrf1", "kafka_partition": 0}
    return any(link.items() <= row.items() for row in later)


def same_row(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[column.name] == other[column.name] for column in ACTIONS.row_columns)


@settings(max_examples=500, deadline=None)
@given(
    picks=st.lists(
        st.tuples(
            st.integers(1, 8),
            st.integers(0, 7),
            st.sampled_from(SOURCES),
            st.sampled_from(["mrf1", "mrf1", "mrf1", "mrf2"]),
            st.sampled_from([0, 0, 0, 1]),
        ),
        min_size=1,
        max_size=10,
    ),
    last=st.integers(0, 4),
)
def test_a_batch_has_the_same_result_as_one_message_at_a_time(
    picks: list[tuple[int, int, str, str, int]], last: int
) -> None:
    start = Position("topic", 5, {SOURCES[0]: last} if last else {})
    messages = [
        message(5 + n, id_, source, mrf=mrf, previous_id=previous, kafka_partition=partition)
        for n, (id_, previous, source, mrf, partition) in enumerate(picks)
    ]
    expected = one_at_a_time(messages, start)
    if expected is None:
        with pytest.raises(StoppedError, match=r"data loss.*crmbot-producer resend --stream actions"):
            prepared(messages, start)
        return
    batch = prepared(messages, start)
    found = [reject.message.offset for reject in batch.rejects]
    assert Outcome(list(batch.offsets), found, batch.duplicates, dict(batch.end.last_ids)) == expected
    assert batch.end.next_offset == 5 + len(picks)
    assert len(batch.rows) + len(batch.rejects) + batch.duplicates == len(messages)


def test_links_of_one_source_are_loaded() -> None:
    start = Position("topic", 5, {SOURCES[0]: 3})
    batch = prepared([message(5 + n, 4 + 2 * n, previous_id=(3, 4, 6)[n]) for n in range(3)], start)
    assert list(batch.offsets) == [5, 6, 7]
    assert batch.end.last_ids == {SOURCES[0]: 8}


def test_an_invalid_message_of_the_source_is_a_link_and_the_chain_continues() -> None:
    batch = prepared(
        [message(0, 1), message(1, 2, potential_revenue="1"), message(2, 3)], Position("topic", 0)
    )
    assert list(batch.offsets) == [0, 2]
    ((reject),) = batch.rejects
    assert reject.is_link
    assert reject.link == (SOURCES[0], 2, 1, 0)
    assert batch.end.last_ids == {SOURCES[0]: 3}


def test_messages_of_a_source_declared_foreign_are_rejected() -> None:
    orders = Orders(foreign={SOURCES[1]})
    foreign = [message(1, 1, SOURCES[1]), message(2, 9, SOURCES[1], previous_id=8)]
    batch = prepared([message(0, 1), *foreign], Position("topic", 0), orders)
    assert list(batch.offsets) == [0]
    assert [reject.message.offset for reject in batch.rejects] == [1, 2]
    alone = prepared([message(3, 1, SOURCES[1])], Position("topic", 3), orders)
    assert len(alone.rejects) == 1


def test_a_stub_is_a_link_with_its_own_reject_reason() -> None:
    stub = Stub(
        kafka_partition=0,
        previous_id=0,
        transaction_id=1,
        source_id=SOURCES[0],
        event_id="e",
        stub="too_large",
        size=2_000_000,
        digest="0" * 32,
    )
    batch = prepared([RawMessage(0, b"L1", stub.model_dump_json().encode()), message(1, 2)], Position("t", 0))
    ((reject),) = batch.rejects
    assert reject.is_link
    assert "larger than a message may be" in reject.reason
    assert list(batch.offsets) == [1]


def test_a_message_with_a_huge_number_does_not_move_the_chain() -> None:
    forged = message(1, 2**62, previous_id=2**62 - 1, event_id=str(UUID(int=9)))
    batch = prepared([message(0, 1), forged, message(2, 2)], Position("topic", 0))
    assert list(batch.offsets) == [0, 2]
    ((reject),) = batch.rejects
    assert not reject.is_link
    assert batch.end.last_ids == {SOURCES[0]: 2}


def test_messages_behind_a_gap_are_superseded_below_the_offset_of_the_resend() -> None:
    orders = Orders(resends={SOURCES[0]: 7})
    late = [message(5, 9, previous_id=8), message(6, 10), message(7, 2), message(8, 3)]
    batch = prepared(late, Position("topic", 5, {SOURCES[0]: 1}), orders)
    assert list(batch.offsets) == [7, 8]
    assert batch.superseded == 2
    assert not batch.rejects
    assert batch.end.last_ids == {SOURCES[0]: 3}


def test_an_accepted_gap_is_skipped_and_can_be_filled_later() -> None:
    orders = Orders(losses={(SOURCES[0], (1, 8))})
    batch = prepared([message(5, 9, previous_id=8)], Position("topic", 5, {SOURCES[0]: 1}), orders)
    assert list(batch.offsets) == [5]
    assert batch.end.gaps == {SOURCES[0]: ((1, 8),)}
    filled = prepared([message(6, 4, previous_id=1)], batch.end)
    assert list(filled.offsets) == [6]
    assert filled.end.gaps == {SOURCES[0]: ((4, 8),)}
    assert filled.end.last_ids == {SOURCES[0]: 9}
    full = prepared([message(7, 8, previous_id=4), message(8, 10)], filled.end)
    assert list(full.offsets) == [7, 8]
    assert full.end.gaps == {}


def test_a_copy_of_a_row_or_reject_is_a_duplicate_and_another_message_with_its_id_is_not() -> None:
    start = Position("topic", 5, {SOURCES[0]: 3})
    row, other, invalid = message(5, 1), message(6, 1, city="Тверь"), message(7, 2, city="")
    digest_of_row = PREPARE(0, start, columns([row])).suspects[0].digest
    assert digest_of_row
    known = Copies([(SOURCES[0], 1, digest_of_row)], [(SOURCES[0], 2, md5_of(invalid))])
    batch = prepared([row, other, invalid], start, known=known)
    assert batch.duplicates == 2
    ((reject),) = batch.rejects
    assert reject.message == other
    assert "does not have this row" in reject.reason


def test_a_row_that_the_warehouse_refused_becomes_a_reject_and_a_link() -> None:
    prepare = Preparation(ACTIONS, "mrf1", {(0, 1): "the warehouse refuses the row"})
    batch = prepare(0, Position("topic", 0), columns([message(n, n + 1) for n in range(3)]))
    assert list(batch.offsets) == [0, 2]
    assert [(reject.message.offset, reject.is_link) for reject in batch.rejects] == [(1, True)]


@pytest.mark.parametrize("value", [b"[" * 100_000, b"1e999", b"\xff", b'{"a":' + b"9" * 5_000 + b"}", None])
def test_unreadable_messages_are_rejected(value: bytes | None) -> None:
    batch = prepared([RawMessage(0, None, value)], Position("topic", 0))
    ((reject),) = batch.rejects
    assert reject.link is None


@given(
    texts=st.lists(
        st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8), min_size=3, max_size=3
    )
)
def test_copy_text_round_trips_every_text(texts: list[str]) -> None:
    texts = [text.replace("\0", "-").replace("\x1f", "-") for text in texts]
    raw = message(0, 1, client_name=texts[0], product=texts[1], refusal_reason=texts[2])
    batch = PREPARE(0, Position("topic", 0), columns([raw]))
    line = copy_text(batch.rows, batch.offsets).decode()
    assert line.startswith("0\t0\t1\t")
    assert line.endswith("\t0\n")
    values = line[:-1].split("\t")
    names = copy_columns(ACTIONS)
    assert len(values) == len(names)
    read = dict(zip(names, map(unescaped, values), strict=True))
    assert [read["client_name"], read["product"], read["refusal_reason"]] == texts


def unescaped(value: str) -> str:
    """Undo the escapes as documented for COPY."""
    result, rest = "", iter(value)
    for character in rest:
        if character == "\\":
            following = next(rest)
            character = {"t": "\t", "n": "\n", "r": "\r"}.get(following, following)
        else:
            assert character not in "\t\n\r"
        result += character
    return result


@pytest.mark.parametrize("offsets", [[4, 5], [5, 5], [6, 5], [5, 6, 6]])
def test_offsets_that_do_not_increase_from_the_position_are_read_again(offsets: list[int]) -> None:
    with pytest.raises(TransientError, match="where 5 is the next"):
        PREPARE(0, Position("topic", 5), columns([message(offset, offset) for offset in offsets]))
