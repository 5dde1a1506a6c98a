"""Folds old batches of the ledger: a partition's oldest batches become one row with their sums.

The fence still holds: no batch finds its predecessor inside a folded row, whose start is still a key. But a
zombie's batch, inserted during the fold, could see its predecessor before the fold and find its own key free
after it. So the fold locks out inserts, for milliseconds. It is sent as one message from BEGIN to COMMIT, so
that a client that vanishes leaves no lock behind.
"""

import time
from collections.abc import Collection
from typing import NamedTuple

from psycopg import errors, sql

from crmbot_core.errors import TransientError
from crmbot_core.lifecycle import Backoff
from crmbot_core.warehouse import Connection

_MAX_BATCHES = 10_000  # per transaction
_MAX_ROWS = 2**31 - 1  # largest count in a ledger row
_LOCK_MILLISECONDS = 200  # loads queue behind this lock request, so it is short and repeated
_BUSY_SECONDS = 60.0

# Without the rows of an adoption and the last row of each epoch, which are never folded.
_RANGES = """
    SELECT kafka_partition, log_epoch, min(start_offset), max(start_offset) FROM (
        SELECT kafka_partition, log_epoch, start_offset, loaded_at,
               row_number() OVER (
                   PARTITION BY kafka_partition ORDER BY log_epoch DESC, start_offset DESC
               ) AS place,
               row_number() OVER (
                   PARTITION BY kafka_partition, log_epoch ORDER BY start_offset DESC
               ) AS place_in_epoch
        FROM crm_bot_ledger WHERE topic = %(topic)s
    ) batches
    WHERE start_offset >= 0 AND place > %(keep)s AND place_in_epoch > 1
      AND loaded_at < now() - %(days)s * interval '1 day'
    GROUP BY kafka_partition, log_epoch HAVING count(*) > 1
    ORDER BY kafka_partition, log_epoch
"""
_OLDEST = """
    SELECT count(*), min(start_offset), max(start_offset), max(end_offset),
           max(loaded), max(rejected), max(duplicate), max(superseded)
    FROM (
        SELECT start_offset, end_offset,
               sum(rows_loaded) OVER batches AS loaded,
               sum(rows_rejected) OVER batches AS rejected,
               sum(rows_duplicate) OVER batches AS duplicate,
               sum(rows_superseded) OVER batches AS superseded
        FROM (
            SELECT start_offset, end_offset, rows_loaded, rows_rejected, rows_duplicate, rows_superseded
            FROM crm_bot_ledger
            WHERE topic = %(topic)s AND kafka_partition = %(partition)s AND log_epoch = %(epoch)s
              AND start_offset BETWEEN %(first)s AND %(last)s
            ORDER BY start_offset LIMIT %(limit)s
        ) oldest
        WINDOW batches AS (ORDER BY start_offset)
    ) sums
    WHERE loaded <= %(most)s AND rejected <= %(most)s AND duplicate <= %(most)s AND superseded <= %(most)s
"""
# If the last of the batches is gone, another session was faster, and nothing is changed. If another session
# has folded only some of them, the sums are still the same.
_FOLD = """
    BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL lock_timeout = {lock};
    LOCK TABLE crm_bot_ledger IN EXCLUSIVE MODE;
    DELETE FROM crm_bot_ledger
    WHERE topic = {topic} AND kafka_partition = {partition} AND log_epoch = {epoch}
      AND start_offset >= {first} AND start_offset < {last}
      AND EXISTS (
          SELECT 1 FROM crm_bot_ledger
          WHERE topic = {topic} AND kafka_partition = {partition} AND log_epoch = {epoch}
            AND start_offset = {last} AND end_offset = {end}
      );
    UPDATE crm_bot_ledger
    SET start_offset = {first}, rows_loaded = {loaded}, rows_rejected = {rejected},
        rows_duplicate = {duplicate}, rows_superseded = {superseded}
    WHERE topic = {topic} AND kafka_partition = {partition} AND log_epoch = {epoch}
      AND start_offset = {last} AND end_offset = {end};
    COMMIT
"""


class _Range(NamedTuple):
    """A partition's batches that may be folded, from start_offset `first` through `last`."""

    partition: int
    epoch: int
    first: int
    last: int


class _Oldest(NamedTuple):
    """The oldest batches of a range that fit into one row.

    Their number, first and last start_offset, last end_offset, and sums.
    """

    batches: int
    first: int
    last: int
    end: int
    loaded: int
    rejected: int
    duplicate: int
    superseded: int


def fold(connection: Connection, topic: str, days: int, keep: int, broken: Collection[int]) -> None:
    """Fold the batches of a topic that are older than `days`, in separate transactions.

    Args:
        connection: a connection of the ledger's owner, in autocommit mode.
        topic: the topic.
        days: minimum age of the batches.
        keep: number of a partition's newest batches to keep, whatever their age.
        broken: partitions not to fold.

    Raises:
        TransientError: other sessions kept the ledger locked for too long; run it again.
    """
    ranges = connection.execute(_RANGES, {"topic": topic, "days": days, "keep": keep}).fetchall()
    for range_ in (_Range(*row) for row in ranges):
        if range_.partition not in broken:
            _fold_range(connection, topic, range_)


def _fold_range(connection: Connection, topic: str, range_: _Range) -> None:
    while (oldest := _oldest(connection, topic, range_)).batches:
        if oldest.batches == 1:  # no other batch fits into its row
            range_ = range_._replace(first=oldest.first + 1)
            continue
        values = {"topic": topic, "lock": _LOCK_MILLISECONDS, **range_._asdict(), **oldest._asdict()}
        literals = {name: sql.Literal(value) for name, value in values.items()}
        _run_with_retries(connection, sql.SQL(_FOLD).format(**literals))


def _oldest(connection: Connection, topic: str, range_: _Range) -> _Oldest:
    values = {"topic": topic, "limit": _MAX_BATCHES, "most": _MAX_ROWS, **range_._asdict()}
    ((*row,),) = connection.execute(_OLDEST, values)
    return _Oldest(*row)


def _run_with_retries(connection: Connection, transaction: sql.Composed) -> None:
    """Run a whole transaction; retry while other sessions hold its lock."""
    backoff, deadline = Backoff(first=0.1, longest=1.0), time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(transaction, prepare=False)
        except errors.LockNotAvailable:
            connection.rollback()
            if time.monotonic() > deadline:
                raise TransientError(
                    f"loads have kept the ledger busy for {_BUSY_SECONDS:.0f} s: run this later"
                ) from None
            time.sleep(backoff.next())
        else:
            return
