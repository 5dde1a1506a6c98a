"""Spreads a file's rows over all partitions that its topic has now; the rows of a lead stay in order."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import check_all_loaded, checked_positions, ledger_snapshot
from crmbot_producer.partitions import partitions_in_use, sent_offsets
from crmbot_producer.settings import RepartitionSettings
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite import BotFile, Identity


class Spread(NamedTuple):
    """How many partitions rows are spread over, `before` and `now`; None before anything was sent."""

    before: int | None
    now: int


def repartition(settings: RepartitionSettings, kafka: Mapping[str, str]) -> Spread:
    """Let the file's next rows go to all partitions of the topic.

    A lead may change partition only after its earlier rows are loaded. So a running producer is fenced, which
    ends with 3, and what it committed has to be loaded. A producer started meanwhile fences this command,
    which then changes nothing.

    Raises:
        ConfigurationError: not everything is sent and loaded yet.
        StoppedError: a producer has taken over, or Kafka lost what was to be loaded.
        TransientError: the file, the broker or the warehouse is away.
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
            _check_all_sent(settings.stream, identities, known)
            _check_all_loaded(settings, kafka, now)
            try:
                sender.commit_offsets([replace(offset, partitions=now) for offset in sent])
            except StoppedError as error:
                raise StoppedError(
                    f"{error}; nothing is changed: stop the producer, then try again"
                ) from error
        return Spread(before, now)


def _check_all_loaded(settings: RepartitionSettings, kafka: Mapping[str, str], partitions: int) -> None:
    """Raise ConfigurationError if Kafka has messages that the ledger does not cover."""
    with ledger_snapshot(settings) as connection:
        positions = checked_positions(connection, kafka, settings.topic, partitions)
    check_all_loaded(kafka, settings.topic, partitions, positions)


def _check_all_sent(stream: str, identities: Sequence[Identity], known: Mapping[str, SourceOffset]) -> None:
    """Raise ConfigurationError if a resend is under way: loaded rows behind the record would come again."""
    for identity in identities:
        offset = known.get(identity.source_id)
        newest = min(max(offset.last_ids.values(), default=0), identity.ends_at) if offset else 0
        if offset and offset.transaction_id < newest:
            raise ConfigurationError(
                f"rows after {offset.transaction_id} are to be sent again; nothing is changed. Start the "
                f"producer of {stream}, wait until it has sent them and they are loaded, then try again"
            )
