"""Rebuilds a producer's records from the file, the warehouse and Kafka."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain

from psycopg import sql

from crmbot_core.errors import StoppedError
from crmbot_core.ledger import Position
from crmbot_core.warehouse import Connection
from crmbot_producer.ledger import committed_beyond
from crmbot_producer.reader import checked_identities
from crmbot_producer.settings import RecoverySettings
from crmbot_producer.shared_rows import SharedRows, compare, warehouse_rows
from crmbot_producer.source_offset import SentRow, SourceOffset, newest_sent, to_close
from crmbot_producer.spread import Place, chosen_partitions, first_that_comes_twice
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.tail import newest_in_kafka

_NEWEST_ROWS = 1_000
_ROWS_FETCHED = 20_000
_NEWEST = """
    SELECT lead_id, kafka_partition FROM {table} WHERE source_id = %s ORDER BY transaction_id DESC LIMIT %s
"""
_LOADED_BEYOND = """
    SELECT transaction_id, lead_id, kafka_partition FROM {table}
    WHERE source_id = %s AND transaction_id > %s AND transaction_id <= %s
"""


class Rebuild:
    """Rebuilds the records of a file's identities.

    Args:
        settings: the file and the warehouse.
        kafka: the client's settings.
        file: the bot's file.
        connection: the warehouse, in a transaction with one snapshot.
        positions: the position of each partition in that snapshot.
        found: the topic's number of partitions.
        adopted: partitions of which the resend supersedes all messages.
    """

    def __init__(
        self,
        settings: RecoverySettings,
        kafka: Mapping[str, str],
        file: BotFile,
        connection: Connection,
        positions: Mapping[int, Position],
        found: int,
        adopted: Collection[int],
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._file = file
        self._connection = connection
        self._positions = positions
        self._found = found
        self._adopted = adopted
        self._table = sql.Identifier(settings.contract.table(settings.mrf))

    def records(
        self, identities: Sequence[Identity], recorded: Mapping[str, SourceOffset], wanted: int | None
    ) -> tuple[list[SourceOffset], int]:
        """Return a record for each identity, oldest first, and the number of partitions that rows go to.

        Args:
            identities: the file's identities, oldest first.
            recorded: the existing records, by source_id.
            wanted: the number of partitions given by the operator, None to determine it.

        Raises:
            StoppedError: the file is not the one that was sent, or the number of partitions is unknown.
        """
        ended = {identity.source_id for identity in to_close(identities, recorded)}
        open_records = {source_id: record for source_id, record in recorded.items() if source_id not in ended}
        checked_identities(self._file, self._settings.stream, open_records)
        compared = [self._compared(identity) for identity in identities]
        partitions = self._partitions(identities, recorded, wanted)
        in_kafka = newest_in_kafka(self._kafka, self._settings.topic, self._found, self._file)
        records = []
        for identity, shared in zip(identities, compared, strict=True):
            transaction_id, event_id = shared.complete or (identity.starts_after, None)
            self._check_no_row_twice(identity, transaction_id, partitions)
            source_id = identity.source_id
            last_ids = self._last_ids(source_id) | self._gaps(source_id)
            newest = None
            if identity.lost_up_to is None:
                known = (self._newest_loaded(source_id), in_kafka.get(source_id))
                newest = newest_sent(transaction_id, recorded.get(source_id), known)
            records.append(
                SourceOffset(
                    source_id, transaction_id, event_id, partitions, last_ids, identity.lost_up_to, newest
                )
            )
        return records, partitions

    def _newest_loaded(self, source_id: str) -> SentRow | None:
        newest = max(self._last_ids(source_id).values(), default=0)
        event_id = self._file.event_id(newest) if newest else None
        return None if event_id is None else SentRow(newest, event_id)

    def _compared(self, identity: Identity) -> SharedRows:
        """Compare file and warehouse; raises StoppedError if the file was replaced or restored."""
        shared = compare(
            self._file.event_ids(identity),
            warehouse_rows(self._connection, self._settings.contract, self._settings.mrf, identity),
            # Rows in an accepted gap are sent as successors of the row before it.
            ceiling=min(self._gaps(identity.source_id).values(), default=identity.ends_at),
        )
        if shared.conflict is not None:
            raise self._restored(f"the warehouse has another row {shared.conflict}")
        # If the file lacked this row, a new row with its id would count as sent.
        newest = max(self._last_ids(identity.source_id).values(), default=0)
        if newest and identity.lost_up_to is None and self._newest_loaded(identity.source_id) is None:
            raise self._restored(f"row {newest}, which the warehouse has, is missing")
        return shared

    def _last_ids(self, source_id: str) -> dict[int, int]:
        """Return the end of the source's chain in each partition that has rows of it."""
        found = {number: position.last_ids.get(source_id, 0) for number, position in self._positions.items()}
        return {number: last_id for number, last_id in found.items() if last_id}

    def _gaps(self, source_id: str) -> dict[int, int]:
        """Return the last row before the first accepted gap in each partition that has one."""
        return {
            number: position.gaps[source_id][0][0]
            for number, position in self._positions.items()
            if position.gaps.get(source_id)
        }

    def _partitions(
        self, identities: Sequence[Identity], recorded: Mapping[str, SourceOffset], wanted: int | None
    ) -> int:
        sources = [identity.source_id for identity in reversed(identities)]
        known = [recorded[source_id].partitions for source_id in sources if source_id in recorded]
        with closing(self._unread(sources)) as unread:
            newest = chain.from_iterable(self._newest(source_id) for source_id in sources)
            partitions = chosen_partitions(
                self._found, unread, newest, recorded=known[0] if known else None, wanted=wanted
            )
        if partitions is None:
            raise StoppedError(
                f"rows in Kafka that are not loaded yet do not tell which of the {self._found} partitions "
                f"are in use{'' if wanted is None else f', or are not spread over {wanted} of them'}; "
                "nothing is changed. Give the number: crmbot-producer resend --stream "
                f"{self._settings.stream} --partitions N; or wait until the consumers have caught up"
            )
        return partitions

    def _unread(self, sources: Sequence[str]) -> Generator[Place, None, None]:
        """Yield lead and partition of the sources' messages in Kafka that may still be loaded."""
        names = [f'"source_id":"{source_id}"'.encode() for source_id in sources]
        messages = committed_beyond(
            self._kafka, self._settings.topic, self._found, self._positions, lost_too=True
        )
        with closing(messages):
            for message in messages:
                key, value, partition = message.key(), message.value(), message.partition()
                if key is None or value is None or partition is None or partition in self._adopted:
                    continue
                lead, text = bytes(key), bytes(value)
                # Copies that others wrote to other partitions say nothing.
                is_in_own_partition = text.startswith(b'{"kafka_partition":%d,' % partition)
                if is_in_own_partition and any(name in text for name in names):
                    yield lead, partition

    def _newest(self, source_id: str) -> Iterator[Place]:
        """Yield lead and partition of the source's newest loaded rows, newest first."""
        rows = self._connection.execute(
            sql.SQL(_NEWEST).format(table=self._table), (source_id, _NEWEST_ROWS)
        ).fetchall()
        yield from ((lead_id.encode(), partition) for lead_id, partition in rows)

    def _check_no_row_twice(self, identity: Identity, after: int, partitions: int) -> None:
        """Raise StoppedError if a loaded row would be sent to another partition and loaded again."""
        query = sql.SQL(_LOADED_BEYOND).format(table=self._table)
        with self._connection.cursor(name="beyond") as cursor:
            cursor.itersize = _ROWS_FETCHED
            cursor.execute(query, (identity.source_id, after, identity.ends_at))
            loaded = ((row, lead_id.encode(), partition) for row, lead_id, partition in cursor)
            twice = first_that_comes_twice(loaded, partitions, self._last_ids(identity.source_id))
        if twice is not None:
            raise StoppedError(
                f"row {twice} of source {identity.source_id} would be loaded again: it is not spread over "
                f"{partitions} partitions; nothing is changed. Give the number that is in use: "
                f"crmbot-producer resend --stream {self._settings.stream} --partitions N"
            )

    def _restored(self, what: str) -> StoppedError:
        return StoppedError(
            f"{self._settings.database} was replaced or restored: {what}; nothing is changed. Put the right "
            "file back, or give this one a new identity: crmbot-producer new-source --stream "
            f"{self._settings.stream}"
        )
