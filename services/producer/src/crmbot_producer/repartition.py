"""Spreads a file's new rows over all partitions of its topic; the rows of a lead stay in order."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_core.ledger import Position
from crmbot_core.warehouse import snapshot
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import check_all_loaded, checked_positions
from crmbot_producer.partitions import partitions_in_use, sent_offsets
from crmbot_producer.settings import RecoverySettings
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite import BotFile, Identity


class Spread(NamedTuple):
    """Number of partitions that rows are spread over; `before` is None if nothing was sent yet."""

    before: int | None
    now: int


def repartition(settings: RecoverySettings, kafka: Mapping[str, str]) -> Spread:
    """Spread the file's next rows over all partitions of the topic.

    A lead may change partition only after its earlier rows are loaded. So a running producer is fenced and
    exits with 3, and all messages it committed have to be loaded. A producer started meanwhile fences this
    command, which then changes nothing.

    Raises:
        ConfigurationError: not everything is sent and loaded yet.
        StoppedError: another producer fenced this command, or Kafka lost unloaded messages.
        TransientError: the file, the broker or the warehouse is unavailable.
    """
    with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
        identities = file.identities()
    with closing(PageSender(kafka, settings.mrf, settings.stream, settings.topic)) as sender:
        known = sender.offsets({identity.source_id for identity in identities})
        sent = sent_offsets(identities, known)
        now = sender.topic_partitions
        if not sent:
            return Spread(None, now)
        before = partitions_in_use(sent, now)
        if before != now:
            with snapshot(settings, is_read_only=True) as connection:
                positions = checked_positions(connection, kafka, settings.topic, now)
            _check_chains(settings.stream, identities, known, positions)
            check_all_loaded(kafka, settings.topic, now, positions)
            try:
                sender.commit_offsets([replace(offset, partitions=now) for offset in sent])
            except StoppedError as error:
                raise StoppedError(
                    f"{error}; nothing is changed: stop the producer, then try again"
                ) from error
        return Spread(before, now)


def _check_chains(
    stream: str,
    identities: Sequence[Identity],
    known: Mapping[str, SourceOffset],
    positions: Mapping[int, Position],
) -> None:
    """Raise ConfigurationError unless each chain ends in the ledger where the producer's record says.

    Otherwise rows were lost, or a resend is in progress: sent to another partition than before, a resent row
    would be loaded twice, and a lost one would count as foreign.
    """
    for identity in identities:
        source_id, offset = identity.source_id, known.get(identity.source_id)
        sent = offset.last_ids if offset else {}
        loaded = {number: place.last_ids.get(source_id, 0) for number, place in positions.items()}
        differ = [n for n in sent.keys() | loaded.keys() if sent.get(n, 0) != loaded.get(n, 0)]
        is_behind = (
            offset is not None
            and offset.sent_up_to is None
            and offset.transaction_id < max(loaded.values(), default=0)
        )
        for number, place in positions.items():
            for after, up_to in place.gaps.get(source_id, ()):
                if after < identity.ends_at:
                    raise ConfigurationError(
                        f"rows of source {source_id} that were lost in partition {number}, after {after} up "
                        f"to {up_to}, can come again only as rows are spread now; nothing is changed. First: "
                        f"crmbot-producer resend --stream {stream}"
                    )
        if differ or is_behind:
            raise ConfigurationError(
                f"not everything is loaded yet: what was sent of source {source_id} and what is loaded do "
                "not end at the same rows; nothing is changed. Start the producer and the consumers of "
                f"{stream}, do what they say if they stop, wait until they have caught up, then try again"
            )
