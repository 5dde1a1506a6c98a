"""The warehouse alone: the chains are complete, and the ledger has no breaks."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.checks.copies import Copies
from tests.chaos.evidence import Batch, Evidence
from tests.chaos.losses import Gap


def chains(evidence: Evidence) -> Iterator[str]:
    """In each source and partition, every row's previous_id is the row before it, or the gap was accepted.

    A dead letter of the bot is a link like a row; a replayed row keeps the place of its dead letter.
    """
    links: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for place, rows in evidence.rows.items():
        for row in rows:
            if place is not None and place not in evidence.replays:
                link = (row["transaction_id"], row["previous_id"])
                links[str(row["source_id"]), row["kafka_partition"]].append(link)
    for letter in evidence.dead_letters.values():
        if letter.is_link:
            link = (letter.transaction_id or 0, letter.previous_id or 0)
            links[letter.source_id or "", letter.place.partition].append(link)
    ends = {partition: batches[-1].last_ids for partition, batches in evidence.ledger.items()}
    for (source_id, partition), chain in links.items():
        before = 0
        for transaction_id, previous_id in sorted(chain):
            if previous_id != before and not _is_accepted(
                evidence, partition, source_id, before, previous_id
            ):
                yield (
                    f"row {transaction_id} in partition {partition} follows {previous_id}, "
                    f"but the row before it is {before}"
                )
            before = transaction_id
        if ends.get(partition, {}).get(source_id) != before:
            yield f"the chain of {source_id} in partition {partition} ends at {before}, the ledger differs"


def sequence(evidence: Evidence) -> Iterator[str]:
    """The ledger's batches have no break and no overlap, and cover all messages."""
    for partition in {spot[0] for spot in evidence.logs[-1]} | evidence.ledger.keys():
        batches = evidence.ledger.get(partition, [])
        before: Batch | None = None
        for batch in batches:
            yield from _follows(before, batch)
            before = batch
        end = before.end if before else 0
        beyond = [spot for spot in evidence.logs[-1] if spot[0] == partition and spot[1] >= end]
        if beyond:
            yield f"ledger of partition {partition} ends at {end}, before {len(beyond)} messages"


def counts(evidence: Evidence) -> Iterator[str]:
    """The counts of each batch match its messages: rows, dead letters, copies and superseded ones."""
    copies = Copies(evidence)
    found: dict[tuple[int, int, int], Counter[str]] = defaultdict(Counter)
    for place, (message, batch) in evidence.processed.items():
        counter = found[batch.partition, batch.epoch, batch.start]
        # A replayed message counts as a dead letter of the batch; an operator loaded its row.
        loaded = 0 if place in evidence.replays else len(evidence.rows.get(place, []))
        rejected = int(place in evidence.dead_letters)
        counter.update(row=loaded, reject=rejected)
        if not loaded and not rejected:
            counter[copies.fate(place, message, batch) or "lost"] += 1
    for batches in evidence.ledger.values():
        for batch in batches:
            counter = found[batch.partition, batch.epoch, batch.start]
            recorded = (batch.loaded, batch.rejected, batch.duplicate, batch.superseded)
            actual = tuple(counter[fate] for fate in ("row", "reject", "copy", "superseded"))
            if recorded != actual:
                yield f"{_where(batch)} counts {recorded} rows, rejects and copies, but there are {actual}"


def _follows(before: Batch | None, batch: Batch) -> Iterator[str]:
    where = _where(batch)
    is_new_epoch = before is None or batch.epoch != before.epoch
    if before is not None and is_new_epoch:
        if batch.epoch != before.epoch + 1 or not batch.is_adoption or before.start != before.end:
            yield f"{where}: the epoch before it was not closed, or this one was not opened by an adoption"
        if batch.last_ids != before.last_ids:
            yield f"{where}: the chains of the epoch before it are not continued"
    elif batch.start != (before.end if before else 0):
        yield f"{where}: the batch before it ended at {before.end if before else 0}"
    if batch.end < batch.start:
        yield f"{where} ends before its start"
    if before is None:
        return
    if batch.loaded_at < before.loaded_at or (batch.loaded_at == before.loaded_at and not is_new_epoch):
        yield f"{where} was loaded before the batch before it"
    for source_id, last_id in before.last_ids.items():
        if batch.last_ids.get(source_id, 0) < last_id:
            yield f"{where}: the chain of {source_id} went back from {last_id}"


def _is_accepted(evidence: Evidence, partition: int, source_id: str, before: int, previous_id: int) -> bool:
    def explains(gap: Gap) -> bool:
        is_there = (gap.partition, gap.source_id, gap.up_to_id) == (partition, source_id, previous_id)
        return is_there and gap.after_id <= before < gap.up_to_id

    return any(map(explains, evidence.losses.gaps))


def _where(batch: Batch) -> str:
    return f"ledger of partition {batch.partition}, epoch {batch.epoch}, at {batch.start}"
