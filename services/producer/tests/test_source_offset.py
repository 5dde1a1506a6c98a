"""Source offsets survive encoding, and detect a file that is not the one that was sent."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmbot_core.errors import StoppedError
from crmbot_producer.source_offset import (
    SentRow,
    SourceOffset,
    check_file,
    decoded,
    newest_sent,
    nothing_sent,
    state_key,
)
from crmbot_producer.sqlite import Identity

SENT = SourceOffset("source", 41, "event-41", 3, {0: 40, 2: 41})
CLOSED = SourceOffset("source", 30, "event-30", 3, {0: 40, 2: 41}, sent_up_to=41)
SENT_AGAIN = SourceOffset("source", 20, "event-20", 3, {0: 40}, newest=SentRow(41, "event-41"))
IDENTITY = Identity("source", 10, 100)


@pytest.mark.parametrize("offset", [SENT, CLOSED, SENT_AGAIN, nothing_sent(IDENTITY)])
def test_a_source_offset_survives_kafka(offset: SourceOffset) -> None:
    assert SourceOffset.decode("source", offset.encode()) == offset


@given(event_id=st.binary(max_size=50))
def test_any_event_id_survives_kafka(event_id: bytes) -> None:
    offset = SourceOffset("source", 1, event_id.decode(errors="surrogateescape"))
    assert SourceOffset.decode("source", offset.encode()) == offset


UNDECODABLE = [
    b"",
    b"[]",
    b"{}",
    b"\xff",
    b"[" * 100_000,
    SENT.encode().replace(b"41", b'"41"'),
    SENT.encode().replace(b"41", b"1e999"),
    SENT.encode().replace(b"41", b"9223372036854775808"),
    SENT.encode().replace(b'"event-41"', b"41"),
    SENT.encode().replace(b'"partitions": 3', b'"partitions": 0'),
    SENT.encode().replace(b'"last_ids": {', b'"last_ids": {"x": 1, '),
    SENT.encode().replace(b'"sent_up_to": null', b'"sent_up_to": true'),
    SENT.encode().replace(b'"newest": null', b'"newest": []'),
    SENT.encode().replace(b'"newest": null', b'"newest": [41, null]'),
]


@pytest.mark.parametrize("value", UNDECODABLE)
def test_a_record_that_is_needed_and_cannot_be_decoded_stops_the_producer(value: bytes) -> None:
    records = {state_key("mrf1", "actions", "source"): value}
    with pytest.raises(StoppedError, match=r"cannot be decoded.*crmbot-producer resend --stream actions"):
        decoded(records, "mrf1", "actions", {"source"})
    assert decoded(records, "mrf1", "actions") == {}


def test_foreign_records_are_ignored() -> None:
    records = {
        state_key("mrf1", "actions", "source"): SENT.encode(),
        state_key("mrf1", "nature", "source"): b"what is this?",
        state_key("mrf12", "actions", "source"): b"what is this?",
        b"mrf1|actions|\xff": b"what is this?",
        b"\xff": b"what is this?",
        b"": b"",
    }
    assert decoded(records, "mrf1", "actions") == {"source": SENT}


def check(offset: SourceOffset, **found: Any) -> None:  # noqa: ANN401  (arguments of check_file)
    row: dict[str, Any] = {
        "identity": IDENTITY,
        "is_present": True,
        "newest_id": 50,
        "event_id": offset.event_id,
        "newest": offset.newest and offset.newest.event_id,
    } | found
    events = {offset.transaction_id: row.pop("event_id")}
    if offset.newest:
        events[offset.newest.transaction_id] = row["newest"]
    del row["newest"]
    check_file(Path("actions.db"), "actions", row.pop("identity"), offset, event_id_of=events.get, **row)


def test_the_file_that_was_sent_passes() -> None:
    check(SENT)
    check(SENT, newest_id=41)
    check(SENT, is_present=False, identity=Identity("source", 10, 41))
    check(nothing_sent(IDENTITY), event_id="row of the identity before")
    check(nothing_sent(IDENTITY), newest_id=10, event_id=None)
    check(CLOSED, is_present=False, identity=Identity("source", 10, 30))
    check(SENT_AGAIN)


@pytest.mark.parametrize(
    ("offset", "found", "words"),
    [
        pytest.param(SENT, {"event_id": None}, "row 41, which was sent, is missing", id="row missing"),
        pytest.param(SENT, {"event_id": None, "newest_id": 40}, "is missing", id="shorter"),
        pytest.param(nothing_sent(IDENTITY), {"newest_id": 9}, "is missing", id="shorter than its start"),
        pytest.param(SENT, {"event_id": "event-x"}, "is another one", id="other rows"),
        pytest.param(
            SENT,
            {"is_present": False, "identity": Identity("source", 10, 30)},
            "belongs to another one now",
            id="restored, continued, then a new identity",
        ),
        pytest.param(
            SENT, {"identity": Identity("source", 45, 100)}, "belongs to another", id="begins later"
        ),
        pytest.param(CLOSED, {}, "was closed at row 30, and its next one is missing", id="closed"),
        pytest.param(
            SourceOffset("source", 20, "event-20", 3, {0: 60}),
            {},
            "row 60, which was sent, is missing",
            id="shorter than before a resend",
        ),
        pytest.param(SENT_AGAIN, {"newest_id": 40}, "row 41, which was sent, is missing", id="cut short"),
        pytest.param(
            SENT_AGAIN, {"newest": "event-x"}, "row 41, which was sent, is another one", id="continued"
        ),
        pytest.param(
            SENT_AGAIN,
            {"is_present": False, "identity": Identity("source", 10, 30)},
            "row 41 was sent as one of source source, and belongs to another one now",
            id="a new identity while rows are sent again",
        ),
    ],
)
def test_another_file_stops_the_producer_and_the_error_says_what_to_do(
    offset: SourceOffset, found: dict[str, Any], words: str
) -> None:
    with pytest.raises(
        StoppedError, match=f"actions.db was replaced or restored.*{words}.*new-source --stream actions"
    ):
        check(offset, **found)


def test_the_newest_row_is_kept_until_a_resend_has_reached_it() -> None:
    moved = SENT_AGAIN.moved_to(40, "event-40")
    assert (moved.transaction_id, moved.event_id, moved.newest) == (40, "event-40", SENT_AGAIN.newest)
    assert moved.moved_to(41, "event-41").newest is None
    assert moved.moved_to(42, "event-42").newest is None


@pytest.mark.parametrize(
    ("record", "known", "expected"),
    [
        pytest.param(None, [], None, id="nothing is known"),
        pytest.param(SENT, [], SentRow(41, "event-41"), id="the record"),
        pytest.param(SENT_AGAIN, [None], SentRow(41, "event-41"), id="the record of an earlier resend"),
        pytest.param(SENT, [SentRow(43, "event-43"), None], SentRow(43, "event-43"), id="Kafka"),
        pytest.param(nothing_sent(IDENTITY), [SentRow(20, "event-20")], None, id="nothing to send again"),
    ],
)
def test_a_resend_knows_the_newest_row_that_was_sent(
    record: SourceOffset | None, known: list[SentRow | None], expected: SentRow | None
) -> None:
    assert newest_sent(20, record, known) == expected
