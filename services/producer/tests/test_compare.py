"""The audit's merge reports exactly the differences."""

from collections import Counter
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from crmbot_producer.audit.compare import DeadLetter, Difference, differences
from crmbot_producer.sqlite import Identity, RowDigest

OWN = b"the very row"
FIRST, LAST, LOST_UP_TO, UP_TO = 10, 20, 25, 18
IDENTITY = Identity("s", FIRST - 1, LAST, LOST_UP_TO)

NUMBERS = st.integers(8, 28)
FILE = st.sets(st.integers(FIRST, LAST)).map(
    lambda numbers: [RowDigest(number, f"event {number}", "same") for number in sorted(numbers)]
)


@st.composite
def rows(draw: st.DrawFn) -> RowDigest:
    """Rows of the warehouse: the file's, changed ones, and others under the file's numbers."""
    number = draw(NUMBERS)
    return RowDigest(
        number, draw(st.sampled_from([f"event {number}", "other"])), draw(st.sampled_from(["same", "other"]))
    )


@st.composite
def letters(draw: st.DrawFn) -> DeadLetter:
    is_replayed = draw(st.booleans())
    number = draw(NUMBERS)
    replayed_as = draw(st.none() | rows()) if is_replayed else None
    if replayed_as is not None:
        replayed_as = replayed_as._replace(transaction_id=number)
    return DeadLetter(number, draw(st.sampled_from([OWN, b"its number only"])), is_replayed, replayed_as)


def by_number(item: RowDigest | DeadLetter) -> int:
    return item.transaction_id


def found(file: list[RowDigest], warehouse: list[RowDigest], dead: list[DeadLetter]) -> list[Difference]:
    return list(
        differences(
            IDENTITY,
            iter(file),
            iter(sorted(warehouse, key=by_number)),
            iter(sorted(dead, key=by_number)),
            lambda letter, row: letter.value == OWN,
            UP_TO,
        )
    )


class Finding(NamedTuple):
    kind: str
    number: int
    event: str


def expected(file: list[RowDigest], warehouse: list[RowDigest], dead: list[DeadLetter]) -> Counter[Finding]:
    """Naive reference: decide about each id by itself, with everything in memory."""
    findings: Counter[Finding] = Counter()
    in_file = {row.transaction_id: row for row in file}
    for row in warehouse:
        if row.transaction_id not in in_file:
            is_lost = LAST < row.transaction_id <= LOST_UP_TO
            findings[Finding("lost" if is_lost else "extra", row.transaction_id, row.event_id)] += 1
    for number, ours in in_file.items():
        own = [letter for letter in dead if letter.transaction_id == number and letter.value == OWN]
        repairs = [letter.replayed_as for letter in own if letter.replayed_as]
        there = [row for row in warehouse if row.transaction_id == number]
        # The first candidate is the row; others of its event are duplicates, which are not counted here.
        of_row = [row for row in there if row.event_id == ours.event_id or row in repairs]
        for row in there:
            if row.event_id != ours.event_id and not (of_row and row is of_row[0]):
                findings[Finding("extra", number, row.event_id)] += 1
        if of_row:
            if of_row[0] != ours:
                kind = "repaired" if of_row[0] in repairs else "changed"
                findings[Finding(kind, number, ours.event_id)] += 1
        elif number <= UP_TO:
            is_rejected = any(not letter.is_replayed for letter in own)
            findings[Finding("rejected" if is_rejected else "missing", number, ours.event_id)] += 1
    return findings


@given(FILE, st.lists(rows(), max_size=25), st.lists(letters(), max_size=10), st.booleans())
def test_every_difference_is_found_and_no_other(
    file: list[RowDigest], others: list[RowDigest], dead: list[DeadLetter], is_loaded: bool
) -> None:
    warehouse = sorted([*(file if is_loaded else ()), *others], key=by_number)
    dead = sorted(dead, key=by_number)
    assert Counter(
        Finding(d.kind, d.transaction_id, d.event_id) for d in found(file, warehouse, dead)
    ) == expected(file, warehouse, dead)


def test_a_forged_row_under_the_number_of_a_missing_one_is_two_differences() -> None:
    file = [RowDigest(number, f"event {number}", "same") for number in (11, 12)]
    forged = RowDigest(11, "another event", "same")
    assert [(d.kind, d.transaction_id) for d in found(file, [forged, file[1]], [])] == [
        ("extra", 11),
        ("missing", 11),
    ]


def test_a_dead_letter_accounts_for_its_row_and_for_no_other() -> None:
    file = [RowDigest(11, "event 11", "same")]
    for value, kind in ((OWN, "rejected"), (b"its number only", "missing")):
        assert [d.kind for d in found(file, [], [DeadLetter(11, value, False, None)])] == [kind]


def test_a_replay_whose_row_is_gone_accounts_for_nothing() -> None:
    file = [RowDigest(11, "event 11", "same")]
    assert [d.kind for d in found(file, [], [DeadLetter(11, OWN, True, None)])] == ["missing"]


def test_rows_newer_than_up_to_may_be_in_transit() -> None:
    file = [RowDigest(UP_TO + 1, "new", "same"), RowDigest(UP_TO + 2, "loaded meanwhile", "same")]
    assert found(file, [file[1]], []) == []


def test_without_a_restore_no_row_counts_as_lost() -> None:
    identity = Identity("s", FIRST - 1, LAST, None)
    extra = RowDigest(LAST + 1, "later", "same")
    assert [d.kind for d in differences(identity, [], [extra], [], lambda *_: False, UP_TO)] == ["extra"]


def test_rows_sent_under_an_identity_without_rows_are_lost() -> None:
    identity = Identity("s", LAST, LAST, FIRST)
    sent, later = RowDigest(FIRST, "sent", "same"), RowDigest(FIRST + 1, "later", "same")
    kinds = [d.kind for d in differences(identity, [], [sent, later], [], lambda *_: False, UP_TO)]
    assert kinds == ["lost", "extra"]
