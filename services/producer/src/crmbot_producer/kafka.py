"""The producer's Kafka client: sends each page in one transaction with its source offset."""

import warnings
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing, suppress
from itertools import repeat

from confluent_kafka import OFFSET_BEGINNING, KafkaException, Producer, TopicPartition

from crmbot_core.errors import ConfigurationError
from crmbot_core.kafka import (
    LATEST,
    STATE_TOPIC,
    admin_client,
    client_config,
    offsets,
    partition_count,
)
from crmbot_core.kafka_errors import translated_errors
from crmbot_core.topic_settings import check_topic_settings
from crmbot_producer.chain import ChainedPage
from crmbot_producer.committed import committed_messages
from crmbot_producer.source_offset import SourceOffset, decoded, state_key

_TIMEOUT_SECONDS = 30.0
_STATE_PARTITION = 0
_MESSAGE_BYTES = 1_000_000  # librdkafka's default of message.max.bytes and batch.size
_LEAST_MESSAGE_BYTES = 64 * 1024  # room for stubs and source offsets
_OVERHEAD_BYTES = 1024  # added to a row by Kafka and the chain


class PageSender:
    """Sends pages of one stream, each in its own transaction.

    Creating it fences the predecessor and aborts its open transaction.

    Attributes:
        topic_partitions: the topic's number of partitions.
        max_row_bytes: maximum size of a row's key and JSON together that Kafka accepts.

    Every method raises:
        TransientError: the broker is unavailable; close this and create a new one.
        ConfigurationError: wrong settings or rights, missing topics, or topics with wrong settings.
        StoppedError: another producer of the same stream fenced this one, or Kafka aborted a transaction that
            exceeded transaction.timeout.ms. A new process can resume.
    """

    def __init__(self, settings: Mapping[str, str], mrf: str, stream: str, topic: str) -> None:
        self._settings = settings
        self._stream = stream
        self._topic = topic
        self._mrf = mrf
        self._right = f"Write on topics {topic} and {STATE_TOPIC}"
        self._admin = admin_client(settings)
        check_topic_settings(self._admin, STATE_TOPIC)
        most_bytes = int(check_topic_settings(self._admin, topic)["max.message.bytes"])
        self.max_row_bytes = self._max_row_bytes(most_bytes)
        self.topic_partitions = partition_count(self._admin, topic)
        with translated_errors():
            self._producer = Producer(
                client_config(
                    settings,
                    defaults={
                        "client.id": f"crmbot-producer-{mrf}-{stream}",
                        "compression.type": "lz4",
                        "linger.ms": 5,
                        # The topic's limit applies to compressed batches.
                        "batch.size": min(_MESSAGE_BYTES, most_bytes),
                        # Large enough for a page: each transaction leaves the queue empty.
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

    def send(self, page: ChainedPage) -> None:
        """Commit the page and its source offset in one transaction."""
        with translated_errors(self._right):
            self._producer.begin_transaction()
            # Faster than produce_batch, and Kafka receives the first messages while the last are produced. A
            # deque of length 0 makes the calls faster than a loop.
            calls = map(
                self._producer.produce,
                repeat(self._topic),
                page.messages(),
                page.page.keys,
                page.partitions,
            )
            deque(calls, maxlen=0)
            self._produce_offset(page.offset)
            self._producer.commit_transaction(_TIMEOUT_SECONDS)

    def commit_offsets(self, offsets: Iterable[SourceOffset]) -> None:
        """Commit source offsets without a page, in one transaction."""
        with translated_errors(self._right):
            self._producer.begin_transaction()
            for offset in offsets:
                self._produce_offset(offset)
            self._producer.commit_transaction(_TIMEOUT_SECONDS)

    def _produce_offset(self, offset: SourceOffset) -> None:
        self._producer.produce(
            STATE_TOPIC,
            offset.encode(),
            state_key(self._mrf, self._stream, offset.source_id),
            partition=_STATE_PARTITION,
        )

    def offsets(self, needed: Collection[str] = ()) -> dict[str, SourceOffset]:
        """Return the source offsets of this MRF and stream, by source_id.

        Reads to the end that the state topic had once the predecessor was fenced. Open transactions of other
        producers may delay this; a read to the last stable offset could miss our own record.

        Raises:
            StoppedError: the record of a `needed` source cannot be decoded.
        """
        records: dict[bytes, bytes] = {}
        place = TopicPartition(STATE_TOPIC, _STATE_PARTITION, OFFSET_BEGINNING)
        with closing(committed_messages(self._settings, [place])) as messages:
            for message in messages:
                key, value = message.key(), message.value()
                if key is None:
                    continue
                if value is None:
                    records.pop(bytes(key), None)
                else:
                    records[bytes(key)] = bytes(value)
        return decoded(records, self._mrf, self._stream, needed)

    def is_topic_unused(self) -> bool:
        """Return whether nothing was ever written to the topic, not even an aborted message."""
        places = [TopicPartition(self._topic, number) for number in range(self.topic_partitions)]
        return not any(offsets(self._admin, places, LATEST).values())

    def close(self) -> None:
        """Close the client; its successor aborts the open transaction."""
        self._producer.purge()
        # It fails or warns if the transaction cannot be aborted, for example after fencing.
        with suppress(KafkaException), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            self._producer.close()

    def _max_row_bytes(self, topic_bytes: int) -> int:
        """Return the maximum size of a row's key and JSON; raise ConfigurationError if it is too small."""
        client_bytes = int(self._settings.get("message.max.bytes", _MESSAGE_BYTES))
        most = min(topic_bytes, client_bytes)
        if most < _LEAST_MESSAGE_BYTES:
            raise ConfigurationError(
                f"messages of at most {most} bytes are too short: set {self._topic}'s max.message.bytes and "
                f"KAFKA_MESSAGE_MAX_BYTES to {_LEAST_MESSAGE_BYTES} or more"
            )
        return most - _OVERHEAD_BYTES
