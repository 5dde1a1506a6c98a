"""The chain of a source's messages in each partition: every message names the one before it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import add

from crmbot_producer.partitions import partitions_of
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite_page import Page


@dataclass(frozen=True)
class ChainedPage:
    """A page with its rows' places in the chain.

    Attributes:
        page: the rows.
        partitions: the partition that each row goes to.
        links: how each row's message begins, with the partition and the row before it.
        offset: the source offset to commit together with the page.
    """

    page: Page
    partitions: list[int]
    links: list[bytes]
    offset: SourceOffset

    def messages(self) -> Iterator[bytes]:
        """Yield the value of each row's message; to keep them all would take as much memory again."""
        return map(add, self.links, self.page.messages)


def chained(page: Page, before: SourceOffset, partitions: int) -> ChainedPage:
    """Return the page as the continuation of its source's chain.

    After a resend it may hold rows that some partitions have already: consumers drop them as copies.
    """
    targets = partitions_of(page.leads, partitions)
    last_ids = before.last_ids
    ends = {target: int(id_) for target, id_ in dict(zip(targets, page.ids, strict=True)).items()}
    moved = before.moved_to(page.last_id, page.last_event_id)
    offset = replace(moved, partitions=partitions, last_ids={**last_ids, **ends})
    return ChainedPage(page, targets, _links(targets, page.ids, last_ids, partitions), offset)


def _links(
    targets: Sequence[int], ids: Sequence[bytes], last_ids: Mapping[int, int], partitions: int
) -> list[bytes]:
    starts = [b'{"kafka_partition":%d,"previous_id":' % number for number in range(partitions)]
    following = [b"%b%d," % (start, last_ids.get(number, 0)) for number, start in enumerate(starts)]
    links = []
    for target, id_ in zip(targets, ids, strict=True):
        links.append(following[target])
        following[target] = starts[target] + id_ + b","
    return links
