"""Finds the number of partitions that rows are spread over, if its record is lost."""

from collections.abc import Iterable, Mapping

from crmbot_producer.partitions import partitions_of

# A row's lead (the message's key) and its partition.
Place = tuple[bytes, int]


def chosen_partitions(
    found: int,
    unread: Iterable[Place],
    newest: Iterable[Place],
    recorded: int | None = None,
    wanted: int | None = None,
) -> int | None:
    """Return the number of partitions to send to, None if it cannot be determined.

    Leads may change partition only if everything in Kafka is loaded, so that their rows stay in order.

    Args:
        found: the topic's number of partitions.
        unread: rows in Kafka that are not loaded.
        newest: rows in the warehouse, newest first. Older ones may be spread over fewer partitions.
        recorded: the number in the producer's record, if there is one.
        wanted: the number given by the operator, if any.
    """
    fits = set(range(1, found + 1))
    is_all_loaded = True
    for place in unread:
        is_all_loaded = False
        fits = _fitting(fits, place)
    if wanted is not None:
        return wanted if wanted in fits else None
    if recorded in fits:
        return recorded
    for place in newest:
        left = _fitting(fits, place)
        if len(fits) == 1 or not left:
            break
        fits = left
    if len(fits) == 1:
        return fits.pop()
    return found if is_all_loaded else None


def _fitting(numbers: set[int], place: Place) -> set[int]:
    lead, partition = place
    return {number for number in numbers if partitions_of([lead], number) == [partition]}


def first_duplicate(
    loaded: Iterable[tuple[int, bytes, int]], partitions: int, last_ids: Mapping[int, int]
) -> int | None:
    """Return the first loaded row that would be loaded again with this number of partitions.

    A consumer recognises a duplicate by the end of the source's chain in its partition: in another partition
    the chain may end before the row.

    Args:
        loaded: transaction_id, lead and partition of a source's loaded rows that will be sent again.
        partitions: the number of partitions.
        last_ids: the end of the source's chain by partition.
    """
    for transaction_id, lead, partition in loaded:
        (target,) = partitions_of([lead], partitions)
        if target != partition and transaction_id > last_ids.get(target, 0):
            return transaction_id
    return None
