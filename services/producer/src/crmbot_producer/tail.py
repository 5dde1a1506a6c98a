"""Finds the newest rows of a file in its topic, to detect lost producer records."""

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import Message, TopicPartition

from crmbot_core.contracts.lenient import fields_of
from crmbot_core.errors import StoppedError
from crmbot_core.kafka import EARLIEST, LATEST, admin_client, offsets
from crmbot_producer.committed import committed_messages
from crmbot_producer.shared_rows import event_id_in
from crmbot_producer.source_offset import SentRow, SourceOffset
from crmbot_producer.sqlite import BotFile, Identity

_REACH = 1_000  # offsets per partition of the first read
_REACH_FACTOR = 100  # factor for the next read of partitions without a result


class SentMessage(NamedTuple):
    """A message in its own partition; `row` is None if the message lacks the complete event_id."""

    partition: int
    source_id: str
    row: SentRow | None


def check_records(
    topic: str, stream: str, newest: Mapping[str, SentRow], known: Mapping[str, SourceOffset]
) -> None:
    """Check that Kafka has no newer row of the file than the records say.

    Args:
        topic: the file's topic.
        stream: its stream, for the message.
        newest: by source_id, the result of `newest_in_kafka`.
        known: by source_id, the records; read them after `newest`, as another producer may send meanwhile.

    Raises:
        StoppedError: there is one, so the newest records were lost.
    """
    for source_id, row in newest.items():
        record = known.get(source_id)
        if row.transaction_id > (record.newest_id if record else 0):
            raise StoppedError(
                f"{topic} has row {row.transaction_id} of source {source_id}, but Kafka has no record that "
                "it was sent: the newest records were lost. Rebuild them from the warehouse: "
                f"crmbot-producer resend --stream {stream}"
            )


def newest_in_kafka(
    kafka: Mapping[str, str], topic: str, partitions: int, file: BotFile
) -> dict[str, SentRow]:
    """Return the newest row of each of the file's sources among the newest messages of each partition.

    Only rows that the file has count: anyone may send messages with other ids. Each partition is read further
    and further back until it yields a message of this file or another one.

    Raises the errors of `committed_messages`.
    """
    identities = {identity.source_id: identity for identity in file.identities()}
    newest: dict[str, SentRow] = {}
    unresolved, reach = set(range(partitions)), _REACH
    while unresolved:
        places = _starts(kafka, topic, unresolved, reach)
        unresolved -= {place.partition for place, is_all in places if is_all}
        with closing(_messages_from(kafka, [place for place, _ in places])) as messages:
            for message in messages:
                unresolved.discard(message.partition)
                row = sent_row(message, identities, file.event_id)
                if row is not None:
                    newest[message.source_id] = max(row, newest.get(message.source_id, row))
        reach *= _REACH_FACTOR
    return newest


def sent_row(
    message: SentMessage, identities: Mapping[str, Identity], event_id_of: Callable[[int], str | None]
) -> SentRow | None:
    """Return the message's row if the file has it under the same identity, otherwise None."""
    identity, row = identities.get(message.source_id), message.row
    if identity is None or row is None or not identity.starts_after < row.transaction_id <= identity.ends_at:
        return None
    return row if event_id_of(row.transaction_id) == row.event_id else None


def _starts(
    kafka: Mapping[str, str], topic: str, partitions: Collection[int], reach: int
) -> list[tuple[TopicPartition, bool]]:
    """Return the start of each partition's newest messages, and whether these are all it has."""
    places = [TopicPartition(topic, number) for number in sorted(partitions)]
    admin = admin_client(kafka)
    earliest, latest = offsets(admin, places, EARLIEST), offsets(admin, places, LATEST)
    for place in places:
        place.offset = max(earliest[topic, place.partition], latest[topic, place.partition] - reach)
    return [(place, place.offset == earliest[topic, place.partition]) for place in places]


def _messages_from(
    kafka: Mapping[str, str], starts: list[TopicPartition]
) -> Generator[SentMessage, None, None]:
    """Yield the messages from `starts` on that are in their own partition."""
    with closing(committed_messages(kafka, starts)) as messages:
        for message in messages:
            if sent := _parsed(message):
                yield sent


def _parsed(message: Message) -> SentMessage | None:
    value, partition = message.value(), message.partition()
    fields = fields_of(None if value is None else bytes(value))
    source_id, transaction_id = fields.get("source_id"), fields.get("transaction_id")
    if partition is None or fields.get("kafka_partition") != partition or not isinstance(source_id, str):
        return None
    event_id = event_id_in(fields)
    if type(transaction_id) is not int or event_id is None:
        return SentMessage(partition, source_id, None)
    return SentMessage(partition, source_id, SentRow(transaction_id, event_id))
