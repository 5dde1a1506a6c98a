"""The number of partitions in use, determined by the rows in them."""

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmbot_producer.spread import Place, chosen_partitions, first_duplicate

LEADS = [b"mrf1-L%08d" % number for number in range(200)]


def places(partitions: int, leads: list[bytes] = LEADS) -> list[Place]:
    return [(lead, crc32(lead) % partitions) for lead in leads]


@given(st.integers(1, 12), st.integers(0, 8))
def test_enough_rows_determine_the_number(partitions: int, more: int) -> None:
    found = partitions + more
    assert chosen_partitions(found, [], places(partitions)) == partitions
    assert chosen_partitions(found, places(partitions), []) == partitions


def test_the_newest_rows_count_where_the_number_was_raised() -> None:
    assert chosen_partitions(7, [], places(7, LEADS[:30]) + places(3)) == 7
    assert chosen_partitions(9, [], places(7, LEADS[:30]) + places(3)) == 7


def test_without_rows_all_are_used() -> None:
    assert chosen_partitions(5, [], []) == 5


def test_unloaded_rows_must_keep_their_partition() -> None:
    one = [(LEADS[0], crc32(LEADS[0]) % 1)]
    assert chosen_partitions(3, places(3), [], recorded=3) == 3
    assert chosen_partitions(3, places(3), [], recorded=2) == 3
    assert chosen_partitions(3, places(3), [], wanted=2) is None
    assert chosen_partitions(6, one, []) in (None, 1)
    assert chosen_partitions(6, places(3)[:1] + places(4)[:50] + places(5), []) is None


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_any_number_is_allowed_if_everything_is_loaded(wanted: int) -> None:
    assert chosen_partitions(3, [], places(3), wanted=wanted) == wanted
    assert chosen_partitions(3, [], places(3), recorded=wanted) == wanted
    assert chosen_partitions(3, [], places(3), wanted=4) is None


def test_a_row_that_would_be_loaded_twice_is_found() -> None:
    loaded = [(id_, lead, crc32(lead) % 3) for id_, lead in enumerate(LEADS, 1)]
    ends = {partition: max(id_ for id_, _, p in loaded if p == partition) for partition in range(3)}
    assert first_duplicate(loaded, 3, ends) is None
    first = next(id_ for id_, lead, partition in loaded if crc32(lead) % 7 > 2)
    assert first_duplicate(loaded, 7, ends) == first
    # Every chain ends after all of them, so a consumer looks them up.
    assert first_duplicate(loaded, 7, dict.fromkeys(range(7), len(LEADS))) is None
