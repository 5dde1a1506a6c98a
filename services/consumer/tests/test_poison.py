"""Too many rejects stop the consumer; the count survives a restart."""

import pytest

from crmbot_consumer.messages import Messages, PartitionBatch, RawMessage, Reject
from crmbot_consumer.poison import WINDOW, Counts, Limits, Tally
from crmbot_core.errors import StoppedError
from crmbot_core.ledger import Position

LIMITS = Limits(in_a_row=1_000, share=0.5)


def after(tally: Tally, marks: str, limits: Limits = LIMITS) -> Tally:
    """Return the tally after a batch of one message per mark: x is rejected, any other is not."""
    messages = Messages(list(range(5, 5 + len(marks))), [None] * len(marks), [None] * len(marks))
    rejects = [
        Reject(RawMessage(offset, None, None), f"reason {offset}")
        for offset, mark in zip(messages.offsets, marks, strict=True)
        if mark == "x"
    ]
    start, end = Position("id", 5), Position("id", 5 + len(marks))
    return tally.after(messages, PartitionBatch(0, start, end, (), (), rejects), limits)


@pytest.mark.parametrize(
    ("before", "marks", "expected"),
    [
        pytest.param(0, "...", 0, id="no rejects"),
        pytest.param(2, "...", 0, id="none in this batch"),
        pytest.param(0, ".xx", 2, id="two at the end"),
        pytest.param(2, ".xx", 2, id="an accepted one resets the count"),
        pytest.param(1, "x.x", 1, id="in the middle"),
        pytest.param(1, "xx", 3, id="continues from the previous batch"),
    ],
)
def test_rejects_in_a_row_are_counted_across_batches(before: int, marks: str, expected: int) -> None:
    assert after(Tally(before), marks, Limits(4, 1)).in_a_row == expected


@pytest.mark.parametrize(("before", "marks"), [(0, "xxxx"), (2, "xx."), (3, "x"), (0, "..xxxx..")])
def test_too_many_rejects_in_a_row_stop(before: int, marks: str) -> None:
    with pytest.raises(StoppedError, match="4 messages in a row") as caught:
        after(Tally(before), marks, Limits(4, 1))
    newest = 5 + marks.rindex("x")
    assert f"offset {newest} (reason {newest})" in str(caught.value)
    assert "MAX_REJECTS_IN_A_ROW" in str(caught.value)


def test_after_a_restart_the_count_continues_from_the_ledger() -> None:
    newest_first = [Counts(300, 300), Counts(0, 0), Counts(400, 400), Counts(5, 4), Counts(900, 900)]
    tally = Tally.of(newest_first)
    assert tally.in_a_row == 700
    with pytest.raises(StoppedError, match="1000 messages in a row"):
        after(tally, "x" * 300)
    assert after(tally, "x" * 300, Limits(1_001, 1)).in_a_row == 1_000


def test_the_share_is_that_of_the_batches_in_the_window() -> None:
    tally = Tally()
    for _ in range(9):
        tally = after(tally, "x." * 49 + "xx")  # 51 of 100
    with pytest.raises(StoppedError, match="510 of the last 1000 messages"):
        after(tally, "x." * 49 + "xx")
    with pytest.raises(StoppedError, match="MAX_REJECTS_SHARE"):
        after(Tally.of([*tally.batches, Counts(100_000, 0)]), "x." * 49 + "xx")
    assert after(tally, "x." * 50).batches[0] == Counts(100, 50)
    assert after(tally, "x." * 49 + "xx", Limits(1_000, 0.51)).batches[0] == Counts(100, 51)


def test_fewer_messages_than_the_window_have_no_share() -> None:
    tally = after(Tally(), "x" * (WINDOW - 2) + ".")
    assert tally.in_a_row == 0
    assert tally.batches == (Counts(WINDOW - 1, WINDOW - 2),)


def test_rejects_of_an_earlier_version_do_not_stop_one_that_accepts_them() -> None:
    tally = Tally.of([Counts(100, 100)] * 9 + [Counts(100, 0)])
    tally = after(tally, "." * 150 + "x")
    assert tally.in_a_row == 1
    with pytest.raises(StoppedError, match="903 of the last 1054 messages"):
        after(tally, "xx.")


def test_occasional_rejects_do_not_stop() -> None:
    tally = Tally()
    for second in range(2_000):
        tally = after(tally, "." * 10 + ("x" * 20 + "." * 20 if second % 10 == 0 else ""))


def test_the_tally_from_the_ledger_equals_that_of_the_consumer_that_wrote_it() -> None:
    tally = Tally()
    ledger: list[Counts] = []
    for marks in ["." * 700, "." * 700, "xx", "." * 200 + "x" * 100, ".", "x" * 30, "x"]:
        tally = after(tally, marks)
        ledger.insert(0, Counts(len(marks), marks.count("x")))
    assert Tally.of(ledger) == tally == Tally(31, tuple(ledger[:6]))
