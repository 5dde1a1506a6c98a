"""The rejects table: list and show rejects, and replay them."""

from collections.abc import Iterator
from datetime import datetime
from typing import LiteralString, NamedTuple

from psycopg import errors, sql
from psycopg.rows import class_row

from crmbot_consumer.batch import Preparation
from crmbot_consumer.copy_text import copy_columns, copy_text
from crmbot_consumer.messages import Messages
from crmbot_consumer.settings import TopicSettings
from crmbot_consumer.warehouse import copy_statement
from crmbot_core import ledger
from crmbot_core.contracts.batch import Row
from crmbot_core.errors import ConfigurationError
from crmbot_core.ledger import Position
from crmbot_core.warehouse import Connection, connect, translated_errors

_LIST = """
    SELECT r.kafka_partition, r.kafka_offset, r.log_epoch, r.reason, r.rejected_at, r.source_id::text,
           r.transaction_id, r.previous_id, r.is_link, r.message_key, {value}, p.replayed_at
    FROM crm_bot_rejects r
    LEFT JOIN crm_bot_replays p
           ON p.topic = r.topic AND p.kafka_partition = r.kafka_partition AND p.log_epoch = r.log_epoch
          AND p.kafka_offset = r.kafka_offset
    WHERE r.topic = %(topic)s
      AND (%(partition)s::integer IS NULL
           OR (r.kafka_partition = %(partition)s AND r.kafka_offset = %(offset)s))
      AND (%(epoch)s::integer IS NULL OR r.log_epoch = %(epoch)s)
    ORDER BY r.log_epoch DESC, r.kafka_partition, r.kafka_offset
    LIMIT %(limit)s
"""
_MARK = """
    INSERT INTO crm_bot_replays (topic, kafka_partition, log_epoch, kafka_offset, event_id)
    VALUES (%s, %s, %s, %s, %s)
"""
_IN_TABLE = """
    SELECT 1 FROM {} WHERE event_id = %s OR (source_id = %s AND transaction_id = %s) LIMIT 1
"""


class Place(NamedTuple):
    """A reject's position in Kafka; without an epoch, in the newest epoch that has one there."""

    partition: int
    offset: int
    epoch: int | None = None


class RejectedMessage(NamedTuple):
    """A row of the rejects table; `replayed_at` is None until it is replayed.

    `source_id`, `transaction_id` and `previous_id` are what the message claims, None if unreadable.
    """

    kafka_partition: int
    kafka_offset: int
    log_epoch: int
    reason: str
    rejected_at: datetime
    source_id: str | None
    transaction_id: int | None
    previous_id: int | None
    is_link: bool
    message_key: bytes | None
    message_value: bytes | None
    replayed_at: datetime | None


def listed(settings: TopicSettings, limit: int) -> Iterator[RejectedMessage]:
    """Yield the topic's rejects without their values: newest epoch first, by partition and offset."""
    with connect(settings) as connection:
        yield from _rejected(connection, settings.topic, limit, value="NULL::bytea AS message_value")


def reject_at(settings: TopicSettings, place: Place) -> RejectedMessage:
    """Return the reject at a place.

    Raises:
        ConfigurationError: there is none.
    """
    with connect(settings) as connection:
        return _reject_at(connection, settings.topic, place)


def replay(settings: TopicSettings, place: Place, value: bytes | None, key: bytes | None) -> None:
    """Load a reject, unchanged or corrected, and mark it as replayed, in one transaction.

    Args:
        settings: topic and warehouse.
        place: the reject's position.
        value: the corrected message; None for the rejected one, which this version may accept.
        key: the corrected key; None for the rejected one.

    Raises:
        ConfigurationError: there is no such reject, it was already replayed, its row is in the table, the
            message is another row than the reject, or it still violates the contract.
    """
    with connect(settings) as connection, translated_errors(), connection.transaction():
        found = _reject_at(connection, settings.topic, place)
        row = _row(settings, found, value, key)
        names = settings.contract.column_names
        event_id = row[names.index("event_id")].decode()
        if found.replayed_at:
            raise ConfigurationError(f"replayed before, at {found.replayed_at}")
        try:
            connection.execute(
                _MARK, (settings.topic, place.partition, found.log_epoch, place.offset, event_id)
            )
        except errors.UniqueViolation:
            raise ConfigurationError(f"event {event_id} was replayed before") from None
        _check_chain(connection, settings, found)
        table = sql.Identifier(settings.table)
        known = (event_id, found.source_id, found.transaction_id)
        if connection.execute(sql.SQL(_IN_TABLE).format(table), known).fetchone():
            raise ConfigurationError(
                f"event {event_id} or row {found.transaction_id} of its source is in {settings.table} already"
            )
        columns = copy_columns(settings.contract)
        with connection.cursor().copy(copy_statement(settings.table, columns)) as copy:
            copy.write(copy_text([row], [place.offset]))


def _row(settings: TopicSettings, found: RejectedMessage, value: bytes | None, key: bytes | None) -> Row:
    """Return the row of the corrected message, if it is the reject's row."""
    messages = Messages(
        [found.kafka_offset],
        [found.message_key if key is None else key],
        [found.message_value if value is None else value],
    )
    checked = Preparation(settings.contract, settings.mrf).checked(found.kafka_partition, messages)
    if checked.reasons:
        raise ConfigurationError(f"still breaks the contract: {checked.reasons[0]}")
    (row,) = checked.rows
    index = settings.contract.column_names.index
    ids = (int(row[index("transaction_id")]), int(row[index("previous_id")]))
    actual = (row[index("source_id")].decode(), *ids)
    if actual != (found.source_id, found.transaction_id, found.previous_id):
        raise ConfigurationError(
            f"this is row {actual[1]} of source {actual[0]}, but the reject says it is row "
            f"{found.transaction_id} of source {found.source_id}: keep source_id, transaction_id, previous_id"
        )
    return row


def _check_chain(connection: Connection, settings: TopicSettings, found: RejectedMessage) -> None:
    """Refuse a row that its source has not sent: beyond the chain's end, or lost in an accepted gap."""
    partition, source_id, row = found.kafka_partition, found.source_id or "", found.transaction_id or 0
    known = ledger.positions(connection, settings.topic, [partition]).get(partition, Position("", 0))
    last, gaps = known.last_ids.get(source_id, 0), known.gaps.get(source_id, ())
    if not found.is_link and any(after < row <= to for after, to in gaps):
        raise ConfigurationError(
            f"row {row} lies in a gap that was accepted: crmbot-producer resend brings it"
        )
    if row > last:
        raise ConfigurationError(
            f"row {row} lies beyond {last}, the last one that its source sent to partition "
            f"{partition}: the message is not the bot's"
        )


def _reject_at(connection: Connection, topic: str, place: Place) -> RejectedMessage:
    found = next(_rejected(connection, topic, 1, place), None)
    if found is None:
        epoch = "" if place.epoch is None else f" of epoch {place.epoch}"
        raise ConfigurationError(
            f"no reject at partition {place.partition} offset {place.offset}{epoch} of {topic}"
        )
    return found


def _rejected(
    connection: Connection,
    topic: str,
    limit: int,
    place: Place | None = None,
    value: LiteralString = "r.message_value",
) -> Iterator[RejectedMessage]:
    partition, offset, epoch = place or (None, None, None)
    values = {"topic": topic, "partition": partition, "offset": offset, "epoch": epoch, "limit": limit}
    query = sql.SQL(_LIST).format(value=sql.SQL(value))
    with translated_errors(), connection.cursor(row_factory=class_row(RejectedMessage)) as cursor:
        yield from cursor.execute(query, values)
