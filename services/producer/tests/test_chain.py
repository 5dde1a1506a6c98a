"""Every message names the previous one of its source and partition, across pages."""

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from crmbot_producer.chain import ChainedPage, chained
from crmbot_producer.partitions import partitions_of
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite_page import Page

Row = tuple[int, bytes]  # transaction_id and lead


def page(rows: Sequence[Row]) -> Page:
    leads = [lead for _, lead in rows]
    return Page(
        ids=[b"%d" % id_ for id_, _ in rows],
        leads=leads,
        keys=leads,
        messages=[b'"transaction_id":%d}' % id_ for id_, _ in rows],
        last_id=rows[-1][0],
        last_event_id=f"event-{rows[-1][0]}",
        not_carried={rows[-1][0]: "too_large"},
    )


def links(sent: ChainedPage) -> list[tuple[int, int, int]]:
    """Return partition, previous_id and transaction_id of each message."""
    found = []
    for message, partition in zip(sent.messages(), sent.partitions, strict=True):
        fields = json.loads(message)
        assert list(fields) == ["kafka_partition", "previous_id", "transaction_id"]
        assert fields["kafka_partition"] == partition
        found.append((partition, fields["previous_id"], fields["transaction_id"]))
    return found


@given(
    steps=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([b"a", b"b", b"c", b"d", b"e"])), min_size=1),
    page_rows=st.integers(1, 7),
    partitions=st.integers(1, 4),
)
def test_the_chain_continues_across_pages(
    steps: list[tuple[int, bytes]], page_rows: int, partitions: int
) -> None:
    rows: list[Row] = []
    for step, lead in steps:
        rows.append(((rows[-1][0] if rows else 0) + step, lead))
    offset = SourceOffset("source", 0, None)
    found = []
    for start in range(0, len(rows), page_rows):
        sent = chained(page(rows[start : start + page_rows]), offset, partitions)
        found += links(sent)
        offset = sent.offset
    ends: dict[int, int] = {}
    for (id_, _), partition, link in zip(
        rows, partitions_of([lead for _, lead in rows], partitions), found, strict=True
    ):
        assert link == (partition, ends.get(partition, 0), id_)
        ends[partition] = id_
    assert offset == SourceOffset("source", rows[-1][0], f"event-{rows[-1][0]}", partitions, ends)


def test_after_a_resend_known_rows_are_duplicates_and_the_chain_continues() -> None:
    first, second = partitions_of([b"a", b"b"], 3)
    assert first != second
    before = SourceOffset("source", 10, "event-10", 3, {first: 13, second: 9})
    sent = chained(page([(11, b"a"), (12, b"b"), (13, b"a"), (14, b"a"), (15, b"b")]), before, 3)
    to_first, to_second = [(13, 11), (11, 13), (13, 14)], [(9, 12), (12, 15)]
    assert [link[1:] for link in links(sent) if link[0] == first] == to_first
    assert [link[1:] for link in links(sent) if link[0] == second] == to_second
    assert sent.offset.last_ids == {first: 14, second: 15}
