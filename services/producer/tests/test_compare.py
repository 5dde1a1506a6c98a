"""The audit's merge names exactly what differs."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crmbot_producer.audit.compare import differences
from crmbot_producer.sqlite import RowDigest


def row(transaction_id: int, digest: str = "same") -> RowDigest:
    return RowDigest(transaction_id, f"event {transaction_id}", digest)


@given(
    in_file=st.sets(st.integers(1, 30)),
    copies=st.dictionaries(st.integers(1, 30), st.integers(1, 3)),
    changed=st.sets(st.integers(1, 30)),
    rejected=st.sets(st.integers(1, 30)),
)
def test_every_difference_is_found_and_no_other(
    in_file: set[int], copies: dict[int, int], changed: set[int], rejected: set[int]
) -> None:
    file = [row(number) for number in sorted(in_file)]
    warehouse = [
        row(number, "other" if number in changed else "same")
        for number in sorted(copies)
        for _ in range(copies[number])
    ]
    found = Counter(
        (d.kind, d.transaction_id) for d in differences("s", iter(file), iter(warehouse), rejected)
    )
    expected: Counter[tuple[str, int]] = Counter()
    for number in in_file - copies.keys():
        expected["rejected" if number in rejected else "missing", number] += 1
    for number, count in copies.items():
        if number not in in_file:
            expected["extra", number] += 1
        elif number in changed:
            expected["changed", number] += 1
        if count > 1:
            expected["twice", number] += count - 1
    assert found == expected
