"""The consumer's warehouse: reads positions from the ledger, loads batches in one transaction."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import psycopg
from psycopg import sql

from crmbot_consumer.chain import Orders
from crmbot_consumer.messages import Copies, PartitionBatch, suspected_ids
from crmbot_consumer.poison import WINDOW, Counts, Tally
from crmbot_core import ledger
from crmbot_core.contracts import Stream
from crmbot_core.contracts.digest import warehouse_digest
from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_core.ledger import Position
from crmbot_core.settings import WarehouseSettings
from crmbot_core.warehouse import Connection, connect, one_snapshot, translated_errors

_REJECTS = """
    INSERT INTO crm_bot_rejects (topic, kafka_partition, log_epoch, kafka_offset, reason, source_id,
                                 transaction_id, previous_id, is_link, message_key, message_value)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
# The newest link of each chain, in the table or the rejects.
_NEWEST_IDS = """
    SELECT kafka_partition, source_id::text, max(newest) FROM (
        SELECT kafka_partition, source_id, max(transaction_id) AS newest FROM {table}
        WHERE kafka_partition = ANY(%(partitions)s) GROUP BY kafka_partition, source_id
        UNION ALL
        SELECT kafka_partition, source_id, max(transaction_id) AS newest FROM crm_bot_rejects
        WHERE topic = %(topic)s AND is_link AND kafka_partition = ANY(%(partitions)s)
        GROUP BY kafka_partition, source_id
    ) links
    GROUP BY kafka_partition, source_id
"""
# A join, because ANY would compare each row of the table with every element of a long list.
_ROW_DIGESTS = """
    SELECT t.transaction_id, {digest} FROM {table} AS t
    JOIN (SELECT unnest(%(ids)s::bigint[]) AS suspect_id) AS s ON s.suspect_id = t.transaction_id
    WHERE t.source_id = %(source_id)s::uuid AND t.transaction_id BETWEEN %(first)s AND %(last)s
"""
_REJECT_DIGESTS = """
    SELECT r.transaction_id, md5(coalesce(r.message_value, ''::bytea)) FROM crm_bot_rejects AS r
    JOIN (SELECT unnest(%(ids)s::bigint[]) AS suspect_id) AS s ON s.suspect_id = r.transaction_id
    WHERE r.topic = %(topic)s AND r.source_id = %(source_id)s::uuid
"""
# A live consumer's transactions are much shorter: the client has vanished, with its host or its network.
_END_ABANDONED = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE usename = %(role)s AND application_name LIKE %(name)s
      AND state <> 'idle' AND xact_start < now() - %(seconds)s * interval '1 second'
"""
_ABANDONED_LOCK_TIMEOUTS = 4


class Load(NamedTuple):
    """The content of one transaction: batches of several partitions and their rows as COPY text."""

    batches: Sequence[PartitionBatch]
    texts: Sequence[bytes]


def copy_statement(table: str, columns: Sequence[str]) -> sql.Composed:
    """Return the COPY statement for the output of `copy_text`."""
    return sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT text, NULL '')").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )


class Warehouse:
    """The table, ledger and rejects of one topic. Not thread-safe, except `cancel`.

    Every method raises the errors of `crmbot_core.warehouse.translated_errors`.
    """

    def __init__(
        self,
        settings: WarehouseSettings,
        stream: Stream,
        mrf: str,
        columns: Sequence[str],
        lock_seconds: float,
    ) -> None:
        self._settings = settings
        self._lock_seconds = lock_seconds
        self._topic = stream.topic(mrf)
        self._work = f"consumer {self._topic}"
        self._table = sql.Identifier(stream.table(mrf))
        self._digest = warehouse_digest(stream)
        self._copy = copy_statement(stream.table(mrf), columns)
        self._connection: Connection | None = None

    def check(self) -> None:
        """Raise ConfigurationError unless the tables exist, are readable, and can hold any text."""
        connection = self._connected()
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise ConfigurationError(
                f"WAREHOUSE_DSN: the database's encoding is {encoding}, which cannot hold all that the bots "
                "write: use a database made with ENCODING 'UTF8'"
            )
        names = (
            "crm_bot_ledger",
            "crm_bot_resends",
            "crm_bot_losses",
            "crm_bot_foreign_sources",
            "crm_bot_rejects",
        )
        with translated_errors():
            for table in (*map(sql.Identifier, names), self._table):
                connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 0").format(table))

    def end_abandoned(self) -> int:
        """Terminate sessions of this topic's consumers whose transactions are older than a live one's can be.

        Their locks would block the ledger's key until the server notices that the clients have vanished.
        Returns the number of sessions terminated. Exactly-once does not depend on this: the ledger fences.
        """
        connection = self._connected()
        values = {
            "role": connection.info.user,
            "name": self._work.replace("_", r"\_") + " %",
            "seconds": self._lock_seconds * _ABANDONED_LOCK_TIMEOUTS,
        }
        with translated_errors():
            ((ended,),) = connection.execute(_END_ABANDONED, values)
        return int(ended)

    def positions(self, partitions: Iterable[int]) -> dict[int, Position]:
        """Return the ledger's position of each partition, none if nothing of the topic was ever loaded.

        A partition that was never loaded starts at offset 0 of the topic that was loaded.

        Raises:
            StoppedError: the newest rows in the table and the rejects are not those in the ledger, or the
                topic was adopted and what the warehouse lacks was not sent again.
        """
        numbers = list(partitions)
        connection = self._connected()
        with translated_errors(), one_snapshot(connection):
            found = ledger.positions(connection, self._topic, numbers)
            known = found
            if new := [number for number in numbers if number not in found]:
                loaded = ledger.partitions(connection, self._topic)
                known = ledger.positions(connection, self._topic, loaded)
                if known:
                    topic_id = next(iter(known.values())).topic_id
                    found |= {number: Position(topic_id, 0) for number in new}
            if adopted := ledger.unresent(connection, self._topic, known):
                raise StoppedError(
                    f"{self._topic} partition {adopted[0]}: the topic was adopted, but the producer's "
                    f"records do not fit it yet: crmbot-producer resend --stream {self._topic.split('_')[2]}"
                )
            query = sql.SQL(_NEWEST_IDS).format(table=self._table)
            values = {"partitions": numbers, "topic": self._topic}
            for partition, source_id, newest in connection.execute(query, values):
                last = found.get(partition, Position("", 0)).last_ids.get(source_id, 0)
                if newest != last:
                    loser = "the ledger" if newest > last else self._topic
                    raise StoppedError(
                        f"{self._topic} partition {partition}: {loser} has lost rows: the newest row of "
                        f"source {source_id} is {newest}, the ledger says {last}. Restore all crm_bot_ "
                        "tables from the same moment: 'The warehouse has lost rows' in docs/operations.md"
                    )
        return found

    def orders(self, partition: int, log_epoch: int) -> Orders:
        """Return operators' decisions for a partition."""
        connection = self._connected()
        with translated_errors():
            return Orders(
                ledger.resend_orders(connection, self._topic, partition, log_epoch),
                ledger.accepted_losses(connection, self._topic, partition),
                ledger.foreign_sources(connection, self._topic),
            )

    def tallies(self, partitions: Iterable[int]) -> dict[int, Tally]:
        """Return the tally of each partition's recent messages, from the ledger."""
        connection = self._connected()
        with translated_errors():
            return {
                partition: Tally.of(
                    Counts(*counts)
                    for counts in ledger.newest_batches(connection, self._topic, partition, WINDOW)
                )
                for partition in partitions
            }

    def copies(self, batches: Sequence[PartitionBatch]) -> Copies:
        """Return the rows and rejects in the warehouse with the source and id of a suspect in the batches."""
        connection = self._connected()
        rows: set[tuple[str, int, str]] = set()
        rejects: set[tuple[str, int, str]] = set()
        row_digests = sql.SQL(_ROW_DIGESTS).format(digest=self._digest, table=self._table)
        with translated_errors():
            for source_id, ids in suspected_ids(batches):
                values = {"ids": ids, "source_id": source_id, "first": ids[0], "last": ids[-1]}
                rows.update((source_id, *row) for row in connection.execute(row_digests, values))
                values["topic"] = self._topic
                rejects.update((source_id, *row) for row in connection.execute(_REJECT_DIGESTS, values))
        return Copies(rows, rejects)

    def load(self, load: Load) -> None:
        """Commit ledger, rejects and rows in one transaction; the ledger comes first, because it fences.

        Raises:
            FencedError: a batch does not start where the ledger ends; nothing was committed.
            RefusedDataError: the warehouse refuses a row; nothing was committed.
        """
        connection = self._connected()
        with translated_errors(), connection.transaction(), connection.cursor() as cursor:
            ledger.insert(connection, self._topic, [batch.entry for batch in load.batches])
            rejects = [row for batch in load.batches for row in self._reject_rows(batch)]
            if rejects:
                cursor.executemany(_REJECTS, rejects)
            if any(load.texts):
                with cursor.copy(self._copy) as copy:
                    for text in load.texts:
                        copy.write(text)

    def refusal(self, text: bytes) -> str | None:
        """Try to load rows and roll back; return the SQLSTATE if the table refuses them, otherwise None."""
        connection = self._connected()
        with translated_errors():
            try:
                with (
                    connection.transaction(force_rollback=True),
                    connection.cursor() as cursor,
                    cursor.copy(self._copy) as copy,
                ):
                    copy.write(text)
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                return error.sqlstate or "no SQLSTATE"
        return None

    def cancel(self) -> None:
        """Cancel the running statement; called from another thread."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=5)

    def close(self) -> None:
        """Close the connection; the next call reconnects."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._settings, self._work, self._lock_seconds)
        return self._connection

    def _reject_rows(self, batch: PartitionBatch) -> list[tuple[object, ...]]:
        return [
            (
                self._topic,
                batch.partition,
                batch.end.log_epoch,
                reject.message.offset,
                reject.reason,
                *(reject.link[:3] if reject.link else (None, None, None)),
                reject.is_link,
                reject.message.key,
                reject.message.value,
            )
            for reject in batch.rejects
        ]
