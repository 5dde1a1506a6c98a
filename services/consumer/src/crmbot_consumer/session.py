"""A session of the consumer: from joining the group until a failure or shutdown."""

import gc
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from crmbot_consumer import metrics
from crmbot_consumer.batch import Preparation
from crmbot_consumer.chain import Orders
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.kafka import Buffer, Subscription
from crmbot_consumer.loader import Loader
from crmbot_consumer.messages import PartitionBatch
from crmbot_consumer.poison import Limits, Tally
from crmbot_consumer.refused import Place, refused_rows
from crmbot_consumer.settings import ConsumerSettings
from crmbot_consumer.warehouse import Load, Warehouse
from crmbot_core.errors import RefusedDataError
from crmbot_core.ledger import Position
from crmbot_core.telemetry import Health, Logger

_POLL_SECONDS = 0.02
_POLL_MESSAGES = 10_000
# The loader's thread wakes up for every chunk of COPY data; with Python's default of 5 ms it would wait
# longer for the main thread, which prepares the next batch, than for the server.
_SWITCH_SECONDS = 0.0002
# The main loop does not poll while it waits for the warehouse; this is the margin beyond the longest wait.
_POLL_MARGIN_SECONDS = 120.0
# Beyond the load that a revocation waits for; with it, below the pods' grace period.
_CLOSE_MARGIN_SECONDS = 15.0
# A batch is tens of thousands of tuples without cycles; with Python's default of 700 the collector would scan
# them again and again.
_GC_THRESHOLD = 100_000
# Of STUCK_MINUTES: rare enough for a request to the broker, long enough for partitions to be assigned first.
_IDLE_SHARE = 0.1


@dataclass(frozen=True)
class Flight:
    """A load that a second thread is committing while the next batch is read."""

    load: Load
    done: "Future[float]"
    oldest_timestamp: float


class Session:
    """One membership in the group and one connection to the warehouse, with all uncommitted state."""

    def __init__(
        self,
        settings: ConsumerSettings,
        logger: Logger,
        health: Health,
        stop: threading.Event,
        waiting: metrics.Waiting,
        on_progress: Callable[[], None],
        on_idle: Callable[[Mapping[int, int]], None],
        refused: Mapping[Place, str],
    ) -> None:
        """Prepare a session; nothing is opened before `run`.

        Args:
            settings: the consumer's settings.
            logger: the consumer's logger.
            health: receives the main loop's beats; set ready once the group has admitted the consumer.
            stop: ends the session when set.
            waiting: receives the timestamp of the oldest message not yet loaded.
            on_progress: called after each committed load.
            on_idle: called periodically while idle, with the offset up to which each partition of this
                consumer was read.
            refused: rows that the warehouse refused in an earlier session, with the reason.
        """
        self._settings = settings
        self._logger = logger
        self._health = health
        self._stop = stop
        self._waiting = waiting
        self._on_progress = on_progress
        self._on_idle = on_idle
        self._idle_seconds = settings.stuck_minutes * 60 * _IDLE_SHARE
        self._next_idle = time.monotonic() + self._idle_seconds
        self._limits = Limits(settings.max_rejects_in_a_row, settings.max_rejects_share)
        self._labels = (settings.mrf, settings.stream)
        self._prepare = Preparation(settings.contract, settings.mrf, refused)
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
        self._positions: dict[int, Position] = {}
        self._orders: dict[int, Orders] = {}
        self._tallies: dict[int, Tally] = {}
        self._in_flight: Flight | None = None

    def run(self, kafka_settings: Mapping[str, str]) -> None:
        """Load until `stop` is set, or until something fails."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.set_threshold(_GC_THRESHOLD)
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
                self._drain()
                self._complete_load(kafka)

    def take(self, partitions: Sequence[int]) -> dict[int, Position]:
        """See `Owner`."""
        if self._in_flight is not None:
            self._loader.result(self._in_flight.done)
        if ended := self._loader.run(self._warehouse.end_abandoned):
            self._logger.warning("abandoned sessions ended", sessions=ended)
        self._tallies |= self._loader.run(self._warehouse.tallies, partitions)
        return self._loader.run(self._warehouse.positions, partitions)

    def placed(self, positions: dict[int, Position]) -> None:
        """See `Owner`."""
        self._positions |= positions
        for partition, position in positions.items():
            self._orders[partition] = self._loader.run(self._warehouse.orders, partition, position.log_epoch)

    def give_up(self, partitions: Sequence[int]) -> None:
        """See `Owner`. Wait for the load in flight, within its budget; then drop the buffered messages."""
        self._drain()
        for partition in partitions:
            self._positions.pop(partition, None)
            self._tallies.pop(partition, None)
            self._buffer.drop(partition)
            with suppress(KeyError):
                metrics.LAG_ROWS.remove(*self._labels, str(partition))

    def _step(self, kafka: Subscription) -> None:
        room = self._settings.batch_rows - self._buffer.count
        kafka.poll(self._buffer, min(room, _POLL_MESSAGES), _POLL_SECONDS)
        if self._in_flight and self._in_flight.done.done():
            self._complete_load(kafka)
        age = time.monotonic() - self._buffer.oldest
        is_full = (
            self._buffer.count >= self._settings.batch_rows
            or self._buffer.bytes >= self._settings.batch_bytes
        )
        if is_full or (self._buffer.count and age >= self._settings.batch_seconds):
            self._submit_buffer(kafka)
        elif not self._buffer.count and not self._in_flight:
            self._measure_lag(kafka)
            self._idle(kafka)
        if self._in_flight:
            self._waiting.since = self._in_flight.oldest_timestamp
        else:
            self._waiting.since = self._buffer.oldest_timestamp if self._buffer.count else None

    def _idle(self, kafka: Subscription) -> None:
        """Periodically report how far was read, and move the ledger past offsets without messages."""
        if time.monotonic() < self._next_idle:
            return
        self._next_idle = time.monotonic() + self._idle_seconds
        read = {
            partition: max(position.next_offset, kafka.read_to(partition))
            for partition, position in self._positions.items()
        }
        self._on_idle(read)
        empty_batches = [
            PartitionBatch(partition, start, replace(start, next_offset=read[partition]))
            for partition, start in self._positions.items()
            if read[partition] > start.next_offset
        ]
        if empty_batches:
            self._hand_over(Load(empty_batches, texts=()), time.time())

    def _submit_buffer(self, kafka: Subscription) -> None:
        """Prepare a batch from the buffer, wait for the previous load, and hand the batch to the loader."""
        buffer, self._buffer = self._buffer, Buffer()
        with metrics.PREPARE_SECONDS.labels(*self._labels).time():
            batches = [
                self._prepare(
                    partition,
                    self._positions[partition],
                    messages,
                    self._orders[partition],
                    kafka.read_to(partition),
                )
                for partition, messages in buffer.messages.items()
            ]
            texts = [copy_text(batch.rows, batch.offsets) for batch in batches]
        self._complete_load(kafka)
        if suspected := [batch for batch in batches if batch.suspects]:
            copies = self._loader.run(self._warehouse.copies, suspected)
            batches = [self._prepare.settled(b, copies) if b.suspects else b for b in batches]
        for batch in batches:
            tally = self._tallies[batch.partition]
            self._tallies[batch.partition] = tally.after(
                buffer.messages[batch.partition], batch, self._limits
            )
        self._hand_over(Load(batches, texts), buffer.oldest_timestamp)

    def _hand_over(self, load: Load, oldest_timestamp: float) -> None:
        for batch in load.batches:
            self._positions[batch.partition] = batch.end
        self._in_flight = Flight(load, self._loader.start(self._load, load), oldest_timestamp)

    def _drain(self) -> None:
        """Wait for the load in flight within its budget, then cancel it."""
        if self._in_flight is not None:
            self._loader.drain(self._in_flight.done)

    def _load(self, load: Load) -> float:
        """Load in the loader's thread; return the duration in seconds."""
        started = time.monotonic()
        try:
            self._warehouse.load(load)
        except RefusedDataError as error:
            raise refused_rows(load, self._warehouse.refusal, self._limits.in_a_row, error) from error
        return time.monotonic() - started

    def _complete_load(self, kafka: Subscription) -> None:
        """Wait for the load in flight, then update the metrics and commit its offsets to Kafka."""
        if self._in_flight is None:
            return
        flight, self._in_flight = self._in_flight, None
        seconds = self._loader.result(flight.done)
        batches = flight.load.batches
        metrics.LOAD_SECONDS.labels(*self._labels).observe(seconds)
        metrics.LATENCY_SECONDS.labels(*self._labels).observe(time.time() - flight.oldest_timestamp)
        self._count(batches)
        self._on_progress()
        kafka.mirror(
            {batch.partition: batch.end.next_offset for batch in batches if batch.partition in kafka.assigned}
        )
        self._measure_lag(kafka)

    def _count(self, batches: Collection[PartitionBatch]) -> None:
        metrics.ROWS_LOADED.labels(*self._labels).inc(sum(len(batch.rows) for batch in batches))
        metrics.ROWS_REJECTED.labels(*self._labels).inc(sum(len(batch.rejects) for batch in batches))
        metrics.ROWS_DUPLICATE.labels(*self._labels).inc(sum(batch.duplicates for batch in batches))
        metrics.ROWS_SUPERSEDED.labels(*self._labels).inc(sum(batch.superseded for batch in batches))
        metrics.BATCH_ROWS.labels(*self._labels).observe(sum(len(b.rows) + len(b.rejects) for b in batches))

    def _measure_lag(self, kafka: Subscription) -> None:
        metrics.PARTITIONS.labels(*self._labels).set(len(kafka.assigned))
        for partition, position in self._positions.items():
            buffered = len(self._buffer.messages.get(partition, ()))
            lag = max(buffered, kafka.lag(partition, position.next_offset))
            metrics.LAG_ROWS.labels(*self._labels, str(partition)).set(lag)
