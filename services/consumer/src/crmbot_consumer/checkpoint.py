"""Checkpoints: how messages get from the buffer into the warehouse.

    prepare     check the messages and format the rows, while the previous checkpoint is being committed
    complete    wait for the commit of the previous checkpoint
    submit      tell copies from foreign messages, apply the reject limits, and start the commit

One transaction commits ledger, dead letters and rows. A failure at any step ends the session, which drops all
that is not committed, and the next session resumes from the ledger. So no step has anything to undo.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from crmbot_consumer import metrics
from crmbot_consumer.batch import Preparation
from crmbot_consumer.buffer import Buffer
from crmbot_consumer.chain import Orders
from crmbot_consumer.copy_text import copy_text
from crmbot_consumer.loader import Loader
from crmbot_consumer.messages import Messages, PartitionBatch
from crmbot_consumer.poison import Limits, Tally
from crmbot_consumer.refused import refused_rows
from crmbot_consumer.warehouse import Load, Warehouse
from crmbot_core.errors import RefusedDataError
from crmbot_core.ledger import Position


@dataclass
class PartitionState:
    """An assigned partition.

    Attributes:
        position: behind all checkpoints that were submitted.
        orders: operators' decisions.
        tally: its recent messages.
    """

    position: Position
    orders: Orders
    tally: Tally


@dataclass(frozen=True)
class Checkpoint:
    """A batch of each partition, to be committed in one transaction.

    Attributes:
        batches: one of each partition, in any order.
        texts: the COPY text of each batch's rows.
        messages: by partition, what the batches were prepared from; none for offsets without messages.
        oldest_timestamp: of the oldest message, in seconds since 1970.
    """

    batches: Sequence[PartitionBatch]
    texts: Sequence[bytes]
    oldest_timestamp: float
    messages: Mapping[int, Messages] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of a session: at most one is being committed while the next one is prepared.

    Attributes:
        partitions: the assigned partitions, by number.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        loader: Loader,
        preparation: Preparation,
        limits: Limits,
        labels: tuple[str, str],
    ) -> None:
        """Begin without partitions.

        Args:
            warehouse: receives the checkpoints; used in the loader's thread only.
            loader: the thread.
            preparation: of the stream's messages.
            limits: of rejects.
            labels: of the metrics.
        """
        self.partitions: dict[int, PartitionState] = {}
        self._warehouse = warehouse
        self._loader = loader
        self._preparation = preparation
        self._limits = limits
        self._labels = labels
        self._committing: tuple[Checkpoint, Future[float]] | None = None

    @property
    def oldest_timestamp(self) -> float | None:
        """The timestamp of the oldest message in the checkpoint that is being committed, None without one."""
        return self._committing[0].oldest_timestamp if self._committing else None

    @property
    def is_committing(self) -> bool:
        """Whether a checkpoint was submitted and not completed."""
        return self._committing is not None

    @property
    def is_committed(self) -> bool:
        """Whether `complete` would return, or raise, without waiting."""
        return self._committing is not None and self._committing[1].done()

    def assign(self, positions: Mapping[int, Position]) -> None:
        """Add partitions at their positions, with what the warehouse has of them."""
        tallies = self._loader.run(self._warehouse.tallies, list(positions))
        for partition, position in positions.items():
            orders = self._loader.run(self._warehouse.orders, partition, position.log_epoch)
            self.partitions[partition] = PartitionState(position, orders, tallies[partition])

    def revoke(self, partitions: Sequence[int]) -> None:
        """Remove partitions."""
        for partition in partitions:
            self.partitions.pop(partition, None)

    def prepare(self, buffer: Buffer, read_to: Callable[[int], int]) -> Checkpoint:
        """Check the buffer's messages, and format their rows.

        Args:
            buffer: messages of assigned partitions.
            read_to: returns the offset up to which a partition was read.

        Raises:
            TransientError, StoppedError: see `Preparation`.
        """
        with metrics.PREPARE_SECONDS.labels(*self._labels).time():
            batches = []
            for partition, messages in buffer.messages.items():
                state = self.partitions[partition]
                batches.append(
                    self._preparation(partition, state.position, messages, state.orders, read_to(partition))
                )
            texts = [copy_text(batch.rows, batch.offsets) for batch in batches]
        return Checkpoint(batches, texts, buffer.oldest_timestamp, buffer.messages)

    def submit(self, checkpoint: Checkpoint) -> None:
        """Start the commit of a checkpoint; the previous one has to be completed.

        Raises:
            StoppedError: too many messages are rejected.
        """
        batches = checkpoint.batches
        if suspected := [batch for batch in batches if batch.suspects]:
            copies = self._loader.run(self._warehouse.copies, suspected)
            batches = [self._preparation.settled(b, copies) if b.suspects else b for b in batches]
        for batch in batches:
            state = self.partitions[batch.partition]
            if messages := checkpoint.messages.get(batch.partition):
                state.tally = state.tally.after(messages, batch, self._limits)
            state.position = batch.end
        settled = Checkpoint(batches, checkpoint.texts, checkpoint.oldest_timestamp)
        self._committing = settled, self._loader.start(self._commit, Load(batches, settled.texts))

    def advance(self, read_to: Mapping[int, int]) -> None:
        """Submit a checkpoint of offsets without messages, if there are any below `read_to`."""
        batches = [
            PartitionBatch(partition, state.position, replace(state.position, next_offset=read_to[partition]))
            for partition, state in self.partitions.items()
            if read_to[partition] > state.position.next_offset
        ]
        if batches:
            self.submit(Checkpoint(batches, (), time.time()))

    def complete(self) -> Sequence[PartitionBatch]:
        """Wait for the commit; return the batches committed, none if nothing was submitted.

        Raises:
            CrmBotError: the commit has failed.
        """
        if self._committing is None:
            return ()
        (checkpoint, commit), self._committing = self._committing, None
        metrics.LOAD_SECONDS.labels(*self._labels).observe(self._loader.result(commit))
        metrics.LATENCY_SECONDS.labels(*self._labels).observe(time.time() - checkpoint.oldest_timestamp)
        self._count(checkpoint.batches)
        return checkpoint.batches

    def wait(self) -> None:
        """Wait for the commit, which remains to be completed; raises its error."""
        if self._committing is not None:
            self._loader.result(self._committing[1])

    def drain(self) -> None:
        """Wait for the commit within its budget, then cancel it."""
        if self._committing is not None:
            self._loader.drain(self._committing[1])

    def _commit(self, load: Load) -> float:
        """Commit in the loader's thread; return the duration in seconds."""
        started = time.monotonic()
        try:
            self._warehouse.load(load)
        except RefusedDataError as error:
            raise refused_rows(load, self._warehouse.refusal, self._limits.in_a_row, error) from error
        return time.monotonic() - started

    def _count(self, batches: Sequence[PartitionBatch]) -> None:
        metrics.ROWS_LOADED.labels(*self._labels).inc(sum(len(batch.rows) for batch in batches))
        metrics.ROWS_REJECTED.labels(*self._labels).inc(sum(len(batch.rejects) for batch in batches))
        metrics.ROWS_DUPLICATE.labels(*self._labels).inc(sum(batch.duplicates for batch in batches))
        metrics.ROWS_SUPERSEDED.labels(*self._labels).inc(sum(batch.superseded for batch in batches))
        metrics.BATCH_ROWS.labels(*self._labels).observe(sum(len(b.rows) + len(b.rejects) for b in batches))
