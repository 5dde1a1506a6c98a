"""Decides whether a partition can resume where the ledger ends."""

from crmbot_core.errors import StoppedError
from crmbot_core.ledger import Position


def checked_position(
    topic: str, partition: int, ledger: Position | None, topic_id: str, earliest: int, latest: int
) -> Position:
    """Return the resume point, or refuse to skip unloaded messages.

    Args:
        topic: for the error message.
        partition: for the error message.
        ledger: the position in the partition's last ledger row, None if it was never loaded.
        topic_id: the topic's current id in Kafka.
        earliest: first offset that Kafka still has.
        latest: end offset, one after the last message.

    Raises:
        StoppedError: Kafka no longer has the next message, or the topic is not the one loaded before.
    """
    position = ledger or Position(topic_id, 0)
    place = f"{topic} partition {partition}"
    stream = topic.split("_")[2]
    if position.topic_id != topic_id:
        raise StoppedError(
            f"{place}: the topic was deleted and recreated (its id is {topic_id}, the ledger has "
            f"{position.topic_id}), so its offsets refer to other messages. To load the new topic: "
            f"crmbot-consumer adopt-topic --stream {stream}; then, to fit the producer's records to it and "
            f"have missing rows sent again: crmbot-producer resend --stream {stream}"
        )
    if position.next_offset < earliest:
        raise StoppedError(
            f"{place}: data loss: offset {position.next_offset} is the next to load, but Kafka starts at "
            f"{earliest}: retention deleted the messages between. To resume behind them: crmbot-consumer "
            f"accept-loss --stream {stream} --partition {partition}; then, to have the rows sent again: "
            f"crmbot-producer resend --stream {stream}"
        )
    if position.next_offset > latest:
        raise StoppedError(
            f"{place}: data loss: everything below offset {position.next_offset} was loaded, but Kafka ends "
            f"at {latest}: it lost its newest messages. To resume there: crmbot-consumer adopt-topic "
            f"--stream {stream}; then, to fit the producer's records to it and have missing rows sent again: "
            f"crmbot-producer resend --stream {stream}"
        )
    return position
