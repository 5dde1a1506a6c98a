"""The chain of a source's messages in each partition: every message names the previous one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import add

from crmbot_producer.partitions import partitions_of
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite_page import Page


@dataclass(frozen=True)
class ChainedPage:
    """A page with its rows' positions in the chain.

    Attributes:
        page: the rows.
        partitions: the partition of each row.
        links: the prefix of each row's message, with the partition and the previous row.
        offset: the source offset to commit together with the page.
    """

    page: Page
    partitions: list[int]
    links: list[bytes]
    offset: SourceOffset

    def messages(self) -> Iterator[bytes]:
        """Yield the value of each row's message; a list of them would double the memory."""
        return map(add, self.links, self.page.messages)


def chained(page: Page, before: SourceOffset, partitions: int) -> ChainedPage:
    """Return the page linked to its source's chain.

    After a resend it may contain rows that some partitions already have: consumers drop them as duplicates.
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
    prefixes = [b'{"kafka_partition":%d,"previous_id":' % number for number in range(partitions)]
    next_links = [b"%b%d," % (prefix, last_ids.get(number, 0)) for number, prefix in enumerate(prefixes)]
    links = []
    for target, id_ in zip(targets, ids, strict=True):
        links.append(next_links[target])
        next_links[target] = prefixes[target] + id_ + b","
    return links
