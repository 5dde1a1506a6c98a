"""Rebuilds the producer's records from the warehouse, so that missing rows are sent again."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import TopicPartition

from crmbot_core import ledger
from crmbot_core.errors import StoppedError
from crmbot_core.kafka import LATEST, admin_client, offsets
from crmbot_core.ledger import Order, Position
from crmbot_core.warehouse import connect, snapshot, translated_errors
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import checked_positions
from crmbot_producer.rebuild import Rebuild
from crmbot_producer.settings import RecoverySettings
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite import BotFile

_NEVER_LOADED = Position(topic_id="", next_offset=0)


class Resent(NamedTuple):
    """The rebuilt records, oldest identity first, and the number of partitions that rows go to."""

    records: list[SourceOffset]
    partitions: int


def resend(settings: RecoverySettings, kafka: Mapping[str, str], wanted: int | None = None) -> Resent:
    """Make the producer resend the rows that the warehouse lacks. Safe to run again after a failure.

    A running producer is fenced and exits with 3. Resend orders make the consumers skip the messages that are
    behind a gap in Kafka now, because they will be sent again; then the records are committed. A gap of a
    former source of which nothing is missing is a forgery: the orders cover it too. In a topic that was
    adopted, they cover all of the file's messages that Kafka has now: none of them is loaded.

    Args:
        settings: the file and the warehouse.
        kafka: the client's settings.
        wanted: the number of partitions to send to, if it cannot be determined.

    Raises:
        StoppedError: the file is not the one that was sent, the topic is not the one that was loaded, the
            number of partitions is unknown, or another producer fenced this command.
        TransientError: the file, the broker or the warehouse is unavailable.
    """
    topic = settings.topic
    with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
        file.identities()  # rejects another bot's file before a producer is fenced
        with closing(PageSender(kafka, settings.mrf, settings.stream, topic)) as sender:
            identities = file.identities()
            found = sender.topic_partitions
            # Read after fencing the producer: only resent rows can be committed beyond these ends.
            places = [TopicPartition(topic, number) for number in range(found)]
            ends = offsets(admin_client(kafka), places, LATEST)
            with snapshot(settings, is_read_only=True) as connection:
                positions = checked_positions(connection, kafka, topic, found)
                adopted = ledger.unresent(connection, topic, positions)
                rebuild = Rebuild(settings, kafka, file, connection, positions, found, adopted)
                recorded = sender.offsets()
                records, partitions = rebuild.records(identities, recorded, wanted)
                # Of a topic that had more partitions; a later one may have them again.
                absent = [n for n in ledger.partitions(connection, topic) if n >= found]
                positions |= ledger.positions(connection, topic, absent)
            present = [identity.source_id for identity in identities]
            former = [record for source_id, record in recorded.items() if source_id not in present]
            orders = []
            for number in sorted({*range(found), *positions}):
                position, end = positions.get(number, _NEVER_LOADED), ends.get((topic, number), 0)
                superseded = present + complete_sources(former, number, position)
                orders += [Order(number, position.log_epoch, source_id, end) for source_id in superseded]
            with connect(settings) as connection, translated_errors(), connection.transaction():
                ledger.order_resend(connection, topic, orders)
            try:
                sender.commit_offsets(records)
            except StoppedError as error:
                raise StoppedError(f"{error}; stop the producer, then run this again") from error
    return Resent(records, partitions)


def complete_sources(records: Iterable[SourceOffset], partition: int, position: Position) -> list[str]:
    """Return the sources of which all rows sent to a partition are loaded, as far as their records tell."""
    return [
        record.source_id
        for record in records
        if record.newest is None
        and record.last_ids.get(partition, 0) <= position.last_ids.get(record.source_id, 0)
    ]
