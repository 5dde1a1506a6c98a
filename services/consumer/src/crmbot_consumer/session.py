"""A session of the consumer: from joining the group until a failure or shutdown."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress

from crmbot_consumer import metrics
from crmbot_consumer.batch import Preparation
from crmbot_consumer.buffer import Buffer
from crmbot_consumer.checkpoint import Checkpoints
from crmbot_consumer.copy_text import copy_columns
from crmbot_consumer.kafka import Subscription
from crmbot_consumer.loader import Loader
from crmbot_consumer.poison import Limits
from crmbot_consumer.progress import Progress
from crmbot_consumer.refused import Place
from crmbot_consumer.settings import ConsumerSettings
from crmbot_consumer.warehouse import Warehouse
from crmbot_core.ledger import Position
from crmbot_core.telemetry import Health, Logger

_POLL_SECONDS = 0.02
_POLL_MESSAGES = 10_000
# The main loop does not poll while it waits for the warehouse; this is the margin beyond the longest wait.
_POLL_MARGIN_SECONDS = 120.0
# Beyond the load that a revocation waits for; with it, below the pods' grace period.
_CLOSE_MARGIN_SECONDS = 15.0
# Of STUCK_MINUTES: rare enough for a request to the broker, long enough for partitions to be assigned first.
_IDLE_SHARE = 0.1


class Session:
    """One membership in the group and one connection to the warehouse, with all uncommitted state."""

    def __init__(
        self,
        settings: ConsumerSettings,
        logger: Logger,
        health: Health,
        stop: threading.Event,
        waiting: metrics.Waiting,
        progress: Progress,
        refused: Mapping[Place, str],
    ) -> None:
        """Prepare a session; nothing is opened before `run`.

        Args:
            settings: the consumer's settings.
            logger: the consumer's logger.
            health: receives the main loop's beats; set ready once the group has admitted the consumer.
            stop: ends the session when set.
            waiting: receives the timestamp of the oldest message not yet loaded.
            progress: is told of committed checkpoints, and from time to time that there are none to commit.
            refused: rows that the warehouse refused in an earlier session, with the reason.
        """
        self._settings = settings
        self._logger = logger
        self._health = health
        self._stop = stop
        self._waiting = waiting
        self._progress = progress
        self._idle_seconds = settings.stuck_minutes * 60 * _IDLE_SHARE
        self._next_idle = time.monotonic() + self._idle_seconds
        self._labels = (settings.mrf, settings.stream)
        columns = copy_columns(settings.contract)
        self._warehouse = Warehouse(settings, settings.contract, settings.mrf, columns, settings.lock_seconds)
        self._loader = Loader(
            self._warehouse,
            health,
            stop,
            logger,
            drain_seconds=settings.drain_seconds,
            longest_seconds=settings.stuck_minutes * 60,
        )
        self._buffer = Buffer()
        self._checkpoints = Checkpoints(
            self._warehouse,
            self._loader,
            Preparation(settings.contract, settings.mrf, refused),
            Limits(settings.max_rejects_in_a_row, settings.max_rejects_share),
            self._labels,
        )

    def run(self, kafka_settings: Mapping[str, str]) -> None:
        """Load until `stop` is set, or until something fails."""
        with closing(self._warehouse), closing(self._loader):
            self._loader.run(self._warehouse.check)
            kafka = Subscription(
                kafka_settings,
                self._settings.topic,
                self,
                self._logger,
                poll_seconds=self._loader.longest_seconds + _POLL_MARGIN_SECONDS,
                close_seconds=self._settings.drain_seconds + _CLOSE_MARGIN_SECONDS,
            )
            with closing(kafka):
                while not self._stop.is_set():
                    self._health.beat()
                    self._step(kafka)
                    if kafka.is_member:
                        self._health.set_ready()
                self._checkpoints.drain()
                self._complete(kafka)

    def resume_positions(self, partitions: Sequence[int]) -> dict[int, Position]:
        """See `RebalanceListener`."""
        self._checkpoints.wait()
        if ended := self._loader.run(self._warehouse.end_abandoned):
            self._logger.warning("abandoned sessions ended", sessions=ended)
        return self._loader.run(self._warehouse.positions, partitions)

    def on_assigned(self, positions: Mapping[int, Position]) -> None:
        """See `RebalanceListener`."""
        self._checkpoints.assign(positions)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """See `RebalanceListener`. Wait for the commit, within its budget; drop the buffered messages."""
        self._checkpoints.drain()
        self._checkpoints.revoke(partitions)
        for partition in partitions:
            self._buffer.drop(partition)
            with suppress(KeyError):
                metrics.LAG_ROWS.remove(*self._labels, str(partition))

    def _step(self, kafka: Subscription) -> None:
        room = self._settings.batch_rows - self._buffer.count
        self._buffer.add(kafka.poll(min(room, _POLL_MESSAGES), _POLL_SECONDS))
        if self._checkpoints.is_committed:
            self._complete(kafka)
        limits = (self._settings.batch_rows, self._settings.batch_bytes, self._settings.batch_seconds)
        if self._buffer.is_due(*limits):
            buffer, self._buffer = self._buffer, Buffer()
            checkpoint = self._checkpoints.prepare(buffer, kafka.read_to)
            self._complete(kafka)
            self._checkpoints.submit(checkpoint)
        elif not self._buffer.count and not self._checkpoints.is_committing:
            self._measure_lag(kafka)
            self._idle(kafka)
        buffered = self._buffer.oldest_timestamp if self._buffer.count else None
        self._waiting.since = self._checkpoints.oldest_timestamp or buffered

    def _idle(self, kafka: Subscription) -> None:
        """From time to time, report how far was read, and move the ledger past offsets without messages."""
        if time.monotonic() < self._next_idle:
            return
        self._next_idle = time.monotonic() + self._idle_seconds
        read_to = {
            partition: max(state.position.next_offset, kafka.read_to(partition))
            for partition, state in self._checkpoints.partitions.items()
        }
        self._progress.idle(read_to)
        self._checkpoints.advance(read_to)

    def _complete(self, kafka: Subscription) -> None:
        """Complete the checkpoint that was submitted, if any, and commit its offsets to Kafka."""
        if not self._checkpoints.is_committing:
            return
        batches = self._checkpoints.complete()
        self._progress.loaded()
        kafka.commit_offsets(
            {b.partition: b.end.next_offset for b in batches if b.partition in kafka.assigned}
        )
        self._measure_lag(kafka)

    def _measure_lag(self, kafka: Subscription) -> None:
        metrics.PARTITIONS.labels(*self._labels).set(len(kafka.assigned))
        for partition, state in self._checkpoints.partitions.items():
            buffered = len(self._buffer.messages.get(partition, ()))
            lag = max(buffered, kafka.lag(partition, state.position.next_offset))
            metrics.LAG_ROWS.labels(*self._labels, str(partition)).set(lag)
