"""The consumer's warehouse: positions from the ledger, and loads in one transaction."""

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import psycopg
from psycopg import errors, sql

from crmbot_consumer.batch import PartitionBatch
from crmbot_consumer.ledger import Position
from crmbot_consumer.poison import WINDOW, Counts, Tally
from crmbot_core.errors import TransientError
from crmbot_core.settings import WarehouseSettings
from crmbot_core.warehouse import Connection, connect, translated_errors

_POSITION = """
    SELECT topic_id, end_offset, last_ids FROM crm_bot_ledger
    WHERE topic = %s AND kafka_partition = %s ORDER BY start_offset DESC LIMIT 1
"""
_NEWEST_BATCHES = """
    SELECT rows_loaded + rows_rejected + rows_duplicate, rows_rejected FROM crm_bot_ledger
    WHERE topic = %s AND kafka_partition = %s ORDER BY start_offset DESC LIMIT %s
"""
_LEDGER = """
    INSERT INTO crm_bot_ledger (topic, kafka_partition, start_offset, end_offset, topic_id,
                                rows_loaded, rows_rejected, rows_duplicate, last_ids)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_REJECTS = """
    INSERT INTO crm_bot_rejects (topic, kafka_partition, kafka_offset, reason, message_key, message_value)
    VALUES (%s, %s, %s, %s, %s, %s)
"""


class FencedError(TransientError):
    """Another consumer has loaded this range: what we hold is old, the ledger says where to go on."""


class Load(NamedTuple):
    """What one transaction commits: batches of several partitions and their rows as COPY text."""

    batches: Sequence[PartitionBatch]
    texts: Sequence[bytes]


def copy_statement(table: str, columns: Sequence[str]) -> sql.Composed:
    """Return the COPY that reads what `copy_text` writes."""
    return sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT text, NULL '')").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )


class Warehouse:
    """The table, ledger and rejects of one topic. Not for use by two threads at once, `cancel` apart.

    Raises everywhere what `crmbot_core.warehouse.translated_errors` raises.
    """

    def __init__(self, settings: WarehouseSettings, topic: str, table: str, columns: Sequence[str]) -> None:
        self._settings = settings
        self._topic = topic
        self._table_name = table
        self._table = sql.Identifier(table)
        self._copy = copy_statement(table, columns)
        self._connection: Connection | None = None

    def check(self) -> None:
        """Raise ConfigurationError unless the tables are there and may be read."""
        tables = ("crm_bot_ledger", "crm_bot_rejects", self._table_name)
        connection = self._connected()
        with translated_errors():
            for table in tables:
                connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 0").format(sql.Identifier(table)))

    def positions(self, partitions: Iterable[int]) -> dict[int, Position]:
        """Return what the ledger says of each partition; one that was never loaded is left out."""
        found = {}
        connection = self._connected()
        with translated_errors():
            for partition in partitions:
                row = connection.execute(_POSITION, (self._topic, partition)).fetchone()
                if row is not None:
                    found[partition] = Position(*row)
        return found

    def tallies(self, partitions: Iterable[int]) -> dict[int, Tally]:
        """Return how the newest messages of each partition fared, from the ledger."""
        connection = self._connected()
        with translated_errors():
            return {
                partition: Tally.of(
                    Counts(*row)
                    for row in connection.execute(_NEWEST_BATCHES, (self._topic, partition, WINDOW))
                )
                for partition in partitions
            }

    def known_events(self, event_ids: Collection[str]) -> set[str]:
        """Return those of the event_ids that are in the table; reads one column of the whole table."""
        query = sql.SQL("SELECT DISTINCT event_id::text FROM {} WHERE event_id = ANY(%s::uuid[])").format(
            self._table
        )
        with translated_errors():
            return {row[0] for row in self._connected().execute(query, (list(event_ids),))}

    def load(self, load: Load) -> None:
        """Commit rows, rejects and the ledger in one transaction.

        Raises:
            FencedError: the ledger has these ranges already; nothing of this load was committed.
        """
        connection = self._connected()
        with translated_errors(), connection.transaction(), connection.cursor() as cursor:
            if any(load.texts):
                with cursor.copy(self._copy) as copy:
                    for text in load.texts:
                        copy.write(text)
            rejects = [
                (self._topic, batch.partition, message.offset, reason, message.key, message.value)
                for batch in load.batches
                for message, reason in batch.rejects
            ]
            try:
                if rejects:
                    cursor.executemany(_REJECTS, rejects)
                cursor.executemany(_LEDGER, [self._ledger_row(batch) for batch in load.batches])
            except errors.UniqueViolation as error:
                raise FencedError("another consumer has loaded this range") from error

    def cancel(self) -> None:
        """Ask the server to give up the running load; for another thread than the one that loads."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=5)

    def close(self) -> None:
        """Drop the connection; the next call connects anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._settings)
        return self._connection

    def _ledger_row(self, batch: PartitionBatch) -> tuple[object, ...]:
        return (
            self._topic,
            batch.partition,
            batch.start.next_offset,
            batch.end.next_offset,
            batch.end.topic_id,
            len(batch.rows),
            len(batch.rejects),
            batch.duplicates,
            json.dumps(batch.end.last_ids),
        )
