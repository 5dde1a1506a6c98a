"""Spreads a file's rows over all partitions that its topic has now; the rows of a lead stay in order."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from confluent_kafka import TopicPartition

from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_core.kafka import admin_client, topic_id
from crmbot_producer.committed import committed_messages
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import loaded_ends
from crmbot_producer.partitions import partitions_in_use, sent_watermarks
from crmbot_producer.settings import RepartitionSettings
from crmbot_producer.sqlite import BotFile


class Spread(NamedTuple):
    """How many partitions rows are spread over, `before` and `now`; None before anything was sent."""

    before: int | None
    now: int


def repartition(settings: RepartitionSettings, kafka: Mapping[str, str]) -> Spread:
    """Let the file's next rows go to all partitions of the topic.

    A row may go to another partition than its lead's earlier rows only when these are in the warehouse. So a
    running producer is fenced, which ends with 3, and what it committed has to be loaded. A producer that
    starts meanwhile fences this: then nothing is changed.

    Raises:
        ConfigurationError: not everything that was sent is loaded yet.
        StoppedError: a producer has taken over, or Kafka lost what was to be loaded.
        TransientError: the file, the broker or the warehouse is away.
    """
    with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
        identities = file.identities()
    with closing(PageSender(kafka, settings.mrf, settings.stream, settings.topic)) as sender:
        sent = sent_watermarks(identities, sender.watermarks())
        now = sender.topic_partitions
        if not sent:
            return Spread(None, now)
        before = partitions_in_use(sent, now)
        if before != now:
            _check_all_loaded(settings, kafka, now)
            try:
                sender.commit_watermarks([replace(watermark, partitions=now) for watermark in sent])
            except StoppedError as error:
                raise StoppedError(
                    f"{error}; nothing is changed: stop the producer, then try again"
                ) from error
        return Spread(before, now)


def _check_all_loaded(settings: RepartitionSettings, kafka: Mapping[str, str], partitions: int) -> None:
    """Raise ConfigurationError if Kafka has messages that the ledger does not cover.

    Offsets alone cannot tell: markers of transactions count too.
    """
    topic = settings.topic
    ends = loaded_ends(settings, topic, topic_id(admin_client(kafka), topic))
    starts = [TopicPartition(topic, number, ends.get(number, 0)) for number in range(partitions)]
    with closing(committed_messages(kafka, starts)) as messages:
        waiting = next(messages, None)
    if waiting is not None:
        place = f"{topic} partition {waiting.partition()} offset {waiting.offset()}"
        raise ConfigurationError(
            f"not everything is loaded yet: {place}; nothing is changed. Stop the producer, wait until the "
            "consumers have caught up, then try again"
        )
