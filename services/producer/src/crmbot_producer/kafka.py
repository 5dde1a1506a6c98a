"""The producer's Kafka: pages in transactions, and the watermark that travels with them."""

import time
from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from crmbot_core.errors import TransientError
from crmbot_core.kafka import (
    LATEST,
    STATE_TOPIC,
    admin_client,
    as_error,
    client_config,
    offsets,
    topic_id,
    translated_errors,
)
from crmbot_producer.sqlite import Page
from crmbot_producer.watermark import Watermark, state_key

_TIMEOUT_SECONDS = 30.0
_STATE_PARTITION = 0


class PageSender:
    """Sends pages of one stream, each in a transaction of its own.

    Opening it fences a predecessor and aborts what that left unfinished.

    Raises everywhere:
        TransientError: the broker is away; close this and open another.
        ConfigurationError: wrong settings, rights or topics.
        StoppedError: another producer of the same stream has taken over.
    """

    def __init__(self, settings: Mapping[str, str], mrf: str, stream: str, topic: str) -> None:
        self._settings = settings
        self._stream = stream
        self._topic = topic
        admin = admin_client(settings)
        for name in (topic, STATE_TOPIC):
            topic_id(admin, name)
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
                        # The same partition for a key as the Java clients choose.
                        "partitioner": "murmur2_random",
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
            for key, message in zip(page.keys, page.messages, strict=True):
                produce(topic, message, key)
            self._producer.produce(
                STATE_TOPIC,
                page.watermark.encode(),
                state_key(page.watermark.source_id, self._stream),
                partition=_STATE_PARTITION,
            )
            self._producer.commit_transaction(_TIMEOUT_SECONDS)

    def watermarks(self) -> dict[str, Watermark]:
        """Return what has been sent of this stream, by source_id.

        Reads to the end that the state topic had after our predecessor was fenced. Open transactions of
        other producers may hold that end back for a while; to stop before it could miss our own watermark.
        """
        partition = TopicPartition(STATE_TOPIC, _STATE_PARTITION, OFFSET_BEGINNING)
        end = offsets(admin_client(self._settings), [partition], LATEST)[STATE_TOPIC, _STATE_PARTITION]
        with translated_errors():
            consumer = Consumer(
                client_config(
                    self._settings,
                    # An empty fetch tells the end of the topic: ask for it soon.
                    defaults={"group.id": "crmbot-producer-state", "fetch.wait.max.ms": 20},
                    fixed={
                        "isolation.level": "read_committed",
                        "enable.auto.commit": False,
                        "enable.partition.eof": True,
                    },
                )
            )
        try:
            consumer.assign([partition])
            records = _read_to(consumer, end)
        finally:
            consumer.close()
        suffix = f"|{self._stream}"
        sources = {key.removesuffix(suffix): value for key, value in records.items() if key.endswith(suffix)}
        return {source_id: Watermark.decode(source_id, value) for source_id, value in sources.items()}

    def close(self) -> None:
        """Give the client up; what it had not committed is aborted by its successor."""
        self._producer.purge()
        self._producer.close()


def _read_to(consumer: Consumer, end: int) -> dict[str, bytes]:
    """Return the newest value of each key below offset `end`."""
    records: dict[str, bytes] = {}
    position = 0
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while position < end:
        # It waits out its timeout for a batch that is not full.
        messages = consumer.consume(10_000, timeout=0.1)
        if messages:
            deadline = time.monotonic() + _TIMEOUT_SECONDS
        elif time.monotonic() > deadline:
            raise TransientError(
                f"Kafka: no answer while reading {STATE_TOPIC}, or an open transaction in it"
            )
        for message in messages:
            position = _keep(message, records)
    return records


def _keep(message: Message, records: dict[str, bytes]) -> int:
    """Take one message into `records` and return the offset that follows it."""
    error = message.error()
    offset = message.offset() or 0
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:
            raise as_error(error)
        return offset
    key, value = message.key(), message.value()
    if key is not None and value is not None:
        records[bytes(key).decode()] = bytes(value)
    return offset + 1
