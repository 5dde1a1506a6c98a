"""The consumer's Kafka client: a subscription that resumes from the ledger, never from Kafka's offsets."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from crmbot_consumer.group import Membership, group_config, group_id
from crmbot_consumer.position import checked_position
from crmbot_core.errors import CrmBotError, StoppedError, StuckError, TransientError
from crmbot_core.kafka import (
    EARLIEST,
    LATEST,
    admin_client,
    client_config,
    offsets,
    topic_id,
)
from crmbot_core.kafka_errors import as_error, translated_errors
from crmbot_core.ledger import Position
from crmbot_core.telemetry import Logger
from crmbot_core.topic_settings import check_topic_settings


class RebalanceListener(Protocol):
    """What a subscription calls while the group assigns and revokes partitions."""

    def resume_positions(self, partitions: Sequence[int]) -> dict[int, Position]:
        """Before an assignment: return the ledger's positions of partitions, except those never loaded."""
        ...

    def on_assigned(self, positions: Mapping[int, Position]) -> None:
        """Before the first fetch: receive the positions at which partitions start."""
        ...

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Before a revocation: finish or drop the work on partitions."""
        ...


class Subscription:
    """Reads the topic as a member of its consumer group.

    Partitions are assigned at the ledger's positions: no fetch starts elsewhere, and no seek can race with a
    fetch.

    Every method raises TransientError, ConfigurationError, and StoppedError if Kafka lost data. After any of
    them, close this and create a new one.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        topic: str,
        listener: RebalanceListener,
        logger: Logger,
        *,
        poll_seconds: float,
        close_seconds: float,
    ) -> None:
        """Join the group.

        Args:
            settings: the Kafka client's settings.
            topic: the topic to subscribe to.
            listener: called on rebalances, inside `poll` and `close`.
            logger: the consumer's logger.
            poll_seconds: longest time between two polls before the group revokes the partitions.
            close_seconds: timeout of `close`.
        """
        self._topic = topic
        self._close_seconds = close_seconds
        self._listener = listener
        self._logger = logger
        self._admin = admin_client(settings)
        self._ends: dict[int, int] = {}
        self.assigned: set[int] = set()
        self._is_closing = False
        self._failure: CrmBotError | None = None
        check_topic_settings(self._admin, topic)
        group = group_id(topic)
        protocol = group_config(settings, self._admin)
        logger.info("joining", group=group, protocol=protocol["group.protocol"])
        self._membership = Membership(self._admin, group, protocol["group.protocol"])
        with translated_errors():
            self._consumer = Consumer(
                client_config(
                    settings,
                    defaults={
                        "group.id": group,
                        # Bounds the memory of prefetched messages.
                        "queued.max.messages.kbytes": 32 * 1024,
                        "fetch.wait.max.ms": 100,
                        # With the default of 1 s, fetching pauses that long each time the queue was full.
                        "fetch.queue.backoff.ms": 10,
                        "max.poll.interval.ms": round(poll_seconds * 1000),
                        # How the classic protocol learns of added partitions; the default is five minutes.
                        "topic.metadata.refresh.interval.ms": 10_000,
                    },
                    fixed={
                        **protocol,
                        "isolation.level": "read_committed",
                        "enable.auto.commit": False,
                        "enable.auto.offset.store": False,
                        "auto.offset.reset": "error",
                        "enable.partition.eof": True,
                    },
                )
            )
            self._consumer.subscribe(
                [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )

    def poll(self, limit: int, timeout: float) -> list[Message]:
        """Return up to `limit` messages that come within `timeout` seconds; handles rebalances."""
        with translated_errors():
            messages = self._consumer.consume(limit, timeout)
        if self._failure is not None:
            raise self._failure
        if any(map(Message.error, messages)):
            messages = [message for message in messages if not self._is_event(message)]
        self._membership.check(self._consumer.memberid() or "", is_assigned=bool(self.assigned))
        # Drops messages of partitions revoked after the fetch.
        return [message for message in messages if message.partition() in self.assigned]

    @property
    def is_member(self) -> bool:
        """Whether the group has admitted this consumer, with or without partitions."""
        return self._membership.is_member

    def commit_offsets(self, offsets: Mapping[int, int]) -> None:
        """Commit offsets to Kafka for lag tools and autoscalers. Best effort: logs transient failures."""
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            with translated_errors():
                self._consumer.commit(offsets=places, asynchronous=True)
        except TransientError as error:
            self._logger.warning("offsets not committed to Kafka", reason=str(error))

    def lag(self, partition: int, next_offset: int) -> int:
        """Return the number of messages in Kafka from an offset on, from the client's cached high watermark.

        Offsets without messages, such as transaction markers, count until the client has read past them.
        """
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return 0 if self._ends.get(partition, 0) >= high else max(0, high - next_offset)

    def read_to(self, partition: int) -> int:
        """Return the newest end of the partition that the client has reached, 0 if none.

        All messages below it have been read. It may be beyond the last message, because aborted transactions
        and transaction markers have offsets, too.
        """
        return self._ends.get(partition, 0)

    def close(self) -> None:
        """Leave the group; partitions assigned meanwhile are declined.

        Raises:
            StuckError: the client hangs and may still hold its partitions: the process has to exit.
        """
        self._is_closing = True
        close_within(self._close_seconds, self._consumer.close)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Assign partitions at the ledger's positions; runs inside `poll`, which raises `_failure`."""
        if self._is_closing:
            consumer.unassign()  # librdkafka waits for an answer, and can hang if it is to assign
            return
        try:
            positions = self._checked_positions(partitions)
            for number in positions:
                self._ends.pop(number, None)  # stale, from before a revocation
            self._listener.on_assigned(positions)
        except CrmBotError as error:
            # Raised here, it would pass through librdkafka, which would then assign at Kafka's offsets.
            self._failure = error
            consumer.incremental_assign([])
            return
        consumer.incremental_assign(
            [TopicPartition(self._topic, number, p.next_offset) for number, p in positions.items()]
        )
        self.assigned |= positions.keys()
        self._logger.info("assigned", offsets={number: p.next_offset for number, p in positions.items()})

    def _checked_positions(self, partitions: list[TopicPartition]) -> dict[int, Position]:
        """Return where partitions start, in their order; raises the errors of `checked_position`."""
        numbers = sorted(p.partition for p in partitions)
        ledger = self._listener.resume_positions(numbers)
        identity = topic_id(self._admin, self._topic)
        earliest = offsets(self._admin, partitions, EARLIEST)
        latest = offsets(self._admin, partitions, LATEST)
        positions = {}
        for number in numbers:
            key = (self._topic, number)
            positions[number] = checked_position(
                *key, ledger.get(number), identity, earliest[key], latest[key]
            )
        return positions

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = sorted(p.partition for p in partitions)
        self._listener.on_revoked(numbers)
        self.assigned -= set(numbers)
        self._logger.info("revoked", partitions=numbers)

    def _is_event(self, message: Message) -> bool:
        """Return whether this is an event; record partition ends, log transient errors, raise others."""
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:
            # Ignores an end that was fetched before a revocation.
            if message.partition() in self.assigned:
                self._ends[cast("int", message.partition())] = cast("int", message.offset())
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise StoppedError(
                f"{self._topic} partition {message.partition()}: data loss: Kafka no longer has the next "
                f"message ({error.str()}); restart the consumer to see which messages are missing"
            )
        cause = as_error(error, f"Read on topic {self._topic}")
        if not isinstance(cause, TransientError):
            raise cause
        self._logger.warning("kafka", reason=str(cause))
        return True


def close_within(seconds: float, close: Callable[[], None]) -> None:
    """Call a client's `close`, which can hang in librdkafka (its issues 4041 and 4884); raises its errors.

    Raises:
        StuckError: it has not returned in time; the message has the error that is being handled, if any.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            close()
        except BaseException as error:
            failures.append(error)

    error = sys.exception()
    thread = threading.Thread(target=run, name="close", daemon=True)  # the process can exit although it hangs
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        after = "" if error is None else f", after this error: {error}"
        raise StuckError(f"the Kafka client has not closed within {seconds:.0f} s{after}")
    for failure in failures:
        raise failure
