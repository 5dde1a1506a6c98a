"""Batch-wise preparation decides about every message as one that takes them one at a time would."""

import json
from collections.abc import Collection
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmbot_consumer.batch import Messages, PartitionBatch, Preparation, RawMessage
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.ledger import Position
from crmbot_core.contracts import ACTIONS
from crmbot_core.errors import TransientError

SOURCES = ("5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11", "7d1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a22")
PREPARE = Preparation(ACTIONS, "mrf1")


def message(offset: int, transaction_id: int, source: str = SOURCES[0], **changes: Any) -> RawMessage:  # noqa: ANN401
    value = {
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


def prepared(messages: list[RawMessage], start: Position, known: Collection[str]) -> PartitionBatch:
    batch = PREPARE(0, start, columns(messages))
    return PREPARE.settled(batch, lambda ids: set(ids) & set(known)) if batch.suspects else batch


def one_at_a_time(
    messages: list[RawMessage], start: Position, known: Collection[str]
) -> tuple[list[int], list[int], int, dict[str, int]]:
    """Return loaded offsets, rejected offsets, duplicates and last ids, the slow and plain way."""
    last_ids = dict(start.last_ids)
    loaded, rejected, duplicates = [], [], 0
    rising = set()
    for raw in messages:
        row = json.loads(raw.value or b"{}")
        if row.get("mrf") == "mrf1" and row["transaction_id"] > last_ids.get(row["source_id"], 0):
            last_ids[row["source_id"]] = row["transaction_id"]
            loaded.append(raw.offset)
            rising.add(row["event_id"])
    for raw in messages:
        row = json.loads(raw.value or b"{}")
        if row.get("mrf") != "mrf1":
            rejected.append(raw.offset)
        elif raw.offset not in loaded:
            if row["event_id"] in known or row["event_id"] in rising:
                duplicates += 1
            else:
                rejected.append(raw.offset)
    return loaded, rejected, duplicates, last_ids


@settings(max_examples=300, deadline=None)
@given(
    picks=st.lists(
        st.tuples(
            st.integers(1, 12), st.sampled_from(SOURCES), st.sampled_from(["mrf1", "mrf1", "mrf1", "mrf2"])
        ),
        min_size=1,
        max_size=14,
    ),
    last=st.integers(0, 6),
    known=st.sets(st.integers(1, 12)),
)
def test_the_guard_agrees_with_one_message_at_a_time(
    picks: list[tuple[int, str, str]], last: int, known: set[int]
) -> None:
    start = Position("topic", 5, {SOURCES[0]: last} if last else {})
    messages = [message(5 + n, id_, source, mrf=mrf) for n, (id_, source, mrf) in enumerate(picks)]
    known_events = {str(UUID(int=number)) for number in known}
    batch = prepared(messages, start, known_events)
    loaded, rejected, duplicates, last_ids = one_at_a_time(messages, start, known_events)
    assert list(batch.offsets) == loaded
    assert [reject.message.offset for reject in batch.rejects] == rejected
    assert batch.duplicates == duplicates
    assert batch.end == Position("topic", 5 + len(picks), last_ids)
    assert len(batch.rows) + len(batch.rejects) + batch.duplicates == len(messages)


@given(
    texts=st.lists(
        st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8), min_size=3, max_size=3
    )
)
def test_copy_text_gives_back_every_text(texts: list[str]) -> None:
    texts = [text.replace("\0", "-") for text in texts]
    raw = message(0, 1, client_name=texts[0], product=texts[1], refusal_reason=texts[2])
    batch = PREPARE(0, Position("topic", 0), columns([raw]))
    line = copy_text(batch.rows, 7, batch.offsets).decode()
    assert line.endswith("\t7\t0\n")
    values = line[:-1].split("\t")
    names = copy_columns(ACTIONS)
    assert len(values) == len(names)
    read = dict(zip(names, map(as_copy_reads, values), strict=True))
    assert [read["client_name"], read["product"], read["refusal_reason"]] == texts


def as_copy_reads(value: str) -> str:
    """Undo the escapes the way COPY documents it."""
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
def test_offsets_that_do_not_rise_from_the_position_are_read_again(offsets: list[int]) -> None:
    with pytest.raises(TransientError, match="where 5 is the next"):
        PREPARE(0, Position("topic", 5), columns([message(offset, offset) for offset in offsets]))
