"""Where a partition stands, and the decision whether to go on from there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crmbot_core.errors import StoppedError


@dataclass(frozen=True)
class Position:
    """The state of a partition: the next offset to load, and the highest transaction ids so far.

    `last_ids` maps source_id to transaction_id.
    """

    topic_id: str
    next_offset: int
    last_ids: Mapping[str, int] = field(default_factory=dict)


def checked_position(
    topic: str, partition: int, ledger: Position | None, topic_id: str, earliest: int, latest: int
) -> Position:
    """Return where to start, or refuse to skip what was never loaded.

    Args:
        topic: for the message.
        partition: for the message.
        ledger: the partition's last row in the ledger, None if nothing was ever loaded.
        topic_id: the identity that Kafka gives the topic now.
        earliest: first offset that Kafka still has.
        latest: offset after the last one.

    Raises:
        StoppedError: Kafka no longer has the next message, or it is not the topic that was loaded before.
    """
    position = ledger or Position(topic_id, 0)
    place = f"{topic} partition {partition}"
    if position.topic_id != topic_id:
        raise StoppedError(
            f"{place}: the topic was deleted and made again (its id is {topic_id}, the ledger has "
            f"{position.topic_id}), so its offsets mean something else now; see 'A topic was made again' in "
            "docs/operations.md"
        )
    if position.next_offset < earliest:
        raise StoppedError(
            f"{place}: data loss: offset {position.next_offset} is the next to load, but Kafka starts at "
            f"{earliest}; its retention deleted what lies between. To go on without it, and have the ledger "
            f"say so: crmbot-consumer accept-loss --partition {partition}"
        )
    if position.next_offset > latest:
        raise StoppedError(
            f"{place}: data loss: everything below offset {position.next_offset} was loaded, but Kafka ends "
            f"at {latest}; the broker has lost its newest messages. See 'Kafka lost messages' in "
            "docs/operations.md"
        )
    return position
