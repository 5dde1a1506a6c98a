"""The producer's Kafka: pages in transactions, and the watermark that travels with them."""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import replace

from confluent_kafka import OFFSET_BEGINNING, KafkaException, Producer, TopicPartition

from crmbot_core.kafka import (
    STATE_TOPIC,
    admin_client,
    client_config,
    partition_count,
    topic_id,
    translated_errors,
)
from crmbot_producer.committed import committed_messages
from crmbot_producer.partitions import partitions_of
from crmbot_producer.sqlite import Page
from crmbot_producer.watermark import Watermark, state_key

_TIMEOUT_SECONDS = 30.0
_STATE_PARTITION = 0


class PageSender:
    """Sends pages of one stream, each in a transaction of its own.

    Opening it fences a predecessor and aborts what that left unfinished. `topic_partitions` is what the topic
    has now; `partitions` of them are used, all until the caller says otherwise.

    Raises everywhere:
        TransientError: the broker is away; close this and open another.
        ConfigurationError: wrong settings, rights or topics.
        StoppedError: another producer of the same stream has taken over, or Kafka gave up a transaction that
            was open for longer than transaction.timeout.ms. A new process goes on.
    """

    def __init__(self, settings: Mapping[str, str], mrf: str, stream: str, topic: str) -> None:
        self._settings = settings
        self._stream = stream
        self._topic = topic
        admin = admin_client(settings)
        topic_id(admin, STATE_TOPIC)
        self.topic_partitions = self.partitions = partition_count(admin, topic)
        with translated_errors():
            self._producer = Producer(
                client_config(
                    settings,
                    defaults={
                        "client.id": f"crmbot-producer-{mrf}-{stream}",
                        "compression.type": "lz4",
                        "linger.ms": 5,
                        # A page fits into the queue, which every transaction leaves empty.
                        "queue.buffering.max.messages": 1_000_000,
                        "transaction.timeout.ms": 60_000,
                    },
                    fixed={
                        "transactional.id": f"crmbot-producer-{mrf}-{stream}",
                        "enable.idempotence": True,
                        "acks": "all",
                    },
                )
            )
            self._producer.init_transactions(_TIMEOUT_SECONDS)

    def send(self, page: Page) -> None:
        """Commit the page together with its watermark."""
        with translated_errors():
            self._producer.begin_transaction()
            # Faster than produce_batch, and Kafka has the first messages while the last ones are handed over.
            produce, topic = self._producer.produce, self._topic
            partitions = partitions_of(page.keys, self.partitions)
            for key, message, partition in zip(page.keys, page.messages, partitions, strict=True):
                produce(topic, message, key, partition)
            self._produce_watermark(replace(page.watermark, partitions=self.partitions))
            self._producer.commit_transaction(_TIMEOUT_SECONDS)

    def commit_watermarks(self, watermarks: Iterable[Watermark]) -> None:
        """Commit watermarks without a page, all or none."""
        with translated_errors():
            self._producer.begin_transaction()
            for watermark in watermarks:
                self._produce_watermark(watermark)
            self._producer.commit_transaction(_TIMEOUT_SECONDS)

    def _produce_watermark(self, watermark: Watermark) -> None:
        self._producer.produce(
            STATE_TOPIC,
            watermark.encode(),
            state_key(watermark.source_id, self._stream),
            partition=_STATE_PARTITION,
        )

    def watermarks(self) -> dict[str, Watermark]:
        """Return what has been sent of this stream, by source_id.

        Reads to the end that the state topic had after our predecessor was fenced. Open transactions of
        other producers may hold that end back for a while; to stop before it could miss our own watermark.
        """
        records: dict[str, bytes] = {}
        place = TopicPartition(STATE_TOPIC, _STATE_PARTITION, OFFSET_BEGINNING)
        with closing(committed_messages(self._settings, [place])) as messages:
            for message in messages:
                key, value = message.key(), message.value()
                if key is not None and value is not None:
                    records[bytes(key).decode()] = bytes(value)
        suffix = f"|{self._stream}"
        sources = {key.removesuffix(suffix): value for key, value in records.items() if key.endswith(suffix)}
        return {source_id: Watermark.decode(source_id, value) for source_id, value in sources.items()}

    def close(self) -> None:
        """Give the client up; what it had not committed is aborted by its successor."""
        self._producer.purge()
        # It fails, or warns, where a transaction cannot be aborted, as after a fence.
        with suppress(KafkaException), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            self._producer.close()
