"""The rejects table: to look at, and to put messages right."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from psycopg import errors, sql
from psycopg.rows import class_row

from crmbot_consumer.batch import Messages, Preparation
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.ledger import Position
from crmbot_consumer.settings import TopicSettings
from crmbot_consumer.warehouse import copy_statement
from crmbot_core.errors import ConfigurationError
from crmbot_core.warehouse import Connection, connect, translated_errors

_LIST = """
    SELECT r.kafka_partition, r.kafka_offset, r.reason, r.rejected_at, r.message_key, r.message_value,
           p.replayed_at
    FROM crm_bot_rejects r
    LEFT JOIN crm_bot_replays p
           ON p.topic = r.topic AND p.kafka_partition = r.kafka_partition AND p.kafka_offset = r.kafka_offset
    WHERE r.topic = %s AND (%s::integer IS NULL OR (r.kafka_partition = %s AND r.kafka_offset = %s))
    ORDER BY r.kafka_partition, r.kafka_offset
    LIMIT %s
"""
_MARK = "INSERT INTO crm_bot_replays (topic, kafka_partition, kafka_offset) VALUES (%s, %s, %s)"


class RejectedMessage(NamedTuple):
    """A row of the rejects table; `replayed_at` is None until it is put right."""

    kafka_partition: int
    kafka_offset: int
    reason: str
    rejected_at: datetime
    message_key: bytes | None
    message_value: bytes | None
    replayed_at: datetime | None


def rejected(
    settings: TopicSettings, limit: int, place: tuple[int, int] | None = None
) -> Iterator[RejectedMessage]:
    """Yield the topic's rejects in offset order, or the one at (partition, offset)."""
    with connect(settings) as connection:
        yield from _rejected(connection, settings.topic, limit, place)


def replay(
    settings: TopicSettings, partition: int, offset: int, value: bytes | None, key: bytes | None
) -> None:
    """Load a reject, as it is or put right, and mark it, in one transaction.

    Args:
        settings: topic and warehouse.
        partition: place of the reject.
        offset: place of the reject.
        value: the message put right; None takes the rejected one, which the contract may know by now.
        key: its key put right; None takes the rejected one's.

    Raises:
        ConfigurationError: no such reject, replayed before, its row is in the table, or it still breaks the
            contract.
    """
    with connect(settings) as connection, translated_errors(), connection.transaction():
        found = next(_rejected(connection, settings.topic, 1, (partition, offset)), None)
        if found is None:
            raise ConfigurationError(
                f"no reject at partition {partition} offset {offset} of {settings.topic}"
            )
        try:
            connection.execute(_MARK, (settings.topic, partition, offset))
        except errors.UniqueViolation:
            raise ConfigurationError(f"replayed before, at {found.replayed_at}") from None
        messages = Messages(
            [offset],
            [found.message_key if key is None else key],
            [found.message_value if value is None else value],
        )
        # From an empty position every id rises: the order was lost when the message was rejected.
        batch = Preparation(settings.contract, settings.mrf)(partition, Position("", offset), messages)
        if batch.rejects:
            raise ConfigurationError(f"still breaks the contract: {batch.rejects[0].reason}")
        event_id = batch.rows[0][settings.contract.column_names.index("event_id")].decode()
        query = sql.SQL("SELECT 1 FROM {} WHERE event_id = %s LIMIT 1").format(sql.Identifier(settings.table))
        if connection.execute(query, (event_id,)).fetchone():
            raise ConfigurationError(f"event {event_id} is in {settings.table} already")
        columns = copy_columns(settings.contract)
        with connection.cursor().copy(copy_statement(settings.table, columns)) as copy:
            copy.write(copy_text(batch.rows, partition, batch.offsets))


def _rejected(
    connection: Connection, topic: str, limit: int, place: tuple[int, int] | None
) -> Iterator[RejectedMessage]:
    partition, offset = place or (None, None)
    with translated_errors(), connection.cursor(row_factory=class_row(RejectedMessage)) as cursor:
        yield from cursor.execute(_LIST, (topic, partition, partition, offset, limit))
