"""The source offset travels unharmed, and tells a file that is not the one that was sent."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmbot_core.errors import StoppedError
from crmbot_producer.source_offset import SourceOffset, check_file, decoded, nothing_sent, state_key
from crmbot_producer.sqlite import Identity

SENT = SourceOffset("source", 41, "event-41", 3, {0: 40, 2: 41})
CLOSED = SourceOffset("source", 30, "event-30", 3, {0: 40, 2: 41}, sent_up_to=41)
IDENTITY = Identity("source", 10, 100)


@pytest.mark.parametrize("offset", [SENT, CLOSED, nothing_sent(IDENTITY)])
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
    } | found
    check_file(Path("actions.db"), "actions", row.pop("identity"), offset, **row)


def test_the_file_that_was_sent_passes() -> None:
    check(SENT)
    check(SENT, newest_id=41)
    check(SENT, is_present=False, identity=Identity("source", 10, 41))
    check(nothing_sent(IDENTITY), event_id="row of the identity before")
    check(nothing_sent(IDENTITY), newest_id=10, event_id=None)
    check(CLOSED, is_present=False, identity=Identity("source", 10, 30))


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
            id="restored, gone on, then a new identity",
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
    ],
)
def test_another_file_stops_the_producer_and_says_how_to_go_on(
    offset: SourceOffset, found: dict[str, Any], words: str
) -> None:
    with pytest.raises(
        StoppedError, match=f"actions.db was replaced or restored.*{words}.*new-source --stream actions"
    ):
        check(offset, **found)
