"""Queries of the bench to the warehouse during a run."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from tests.chaos.messages import Spot


class OpenReject(NamedTuple):
    """A dead letter that was not replayed; a large value is left out."""

    spot: Spot
    is_link: bool
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Warehouse:
    """The warehouse. Every query opens a connection, because faults terminate them."""

    dsn: str

    def is_loading(self, application: str) -> bool:
        """Return whether a client has an open transaction."""
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND xact_start IS NOT NULL"
        return bool(self._query(query, application))

    def is_loaded(self, topic: str, source_id: str, transaction_id: int) -> bool:
        """Return whether a source of a topic is loaded up to a transaction_id."""
        query = f"SELECT 1 FROM {topic} WHERE source_id = %s AND transaction_id >= %s LIMIT 1"
        return bool(self._query(query, source_id, transaction_id))

    def arrived(self, topic: str) -> tuple[set[str], set[tuple[str, int]]]:
        """Return the event_ids of all rows, and the source and transaction_id of the bot's dead letters."""
        rows = self._query(f"SELECT event_id::text FROM {topic}")
        links = self._query(
            "SELECT source_id::text, transaction_id FROM crm_bot_rejects WHERE topic = %s AND is_link", topic
        )
        return {event_id for (event_id,) in rows}, set(links)

    def newest_leads(self, topic: str, source_id: str) -> list[tuple[str, int]]:
        """Return lead_id and partition of a source's newest rows."""
        query = f"SELECT lead_id, kafka_partition FROM {topic} WHERE source_id = %s"
        return self._query(f"{query} ORDER BY transaction_id DESC LIMIT 300", source_id)

    def ledger_ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return the epoch and the offset at which the ledger ends, by partition."""
        query = (
            "SELECT DISTINCT ON (kafka_partition) kafka_partition, log_epoch, end_offset FROM crm_bot_ledger "
            "WHERE topic = %s ORDER BY kafka_partition, log_epoch DESC, start_offset DESC"
        )
        return {partition: (epoch, end) for partition, epoch, end in self._query(query, topic)}

    def open_rejects(self, topic: str) -> list[OpenReject]:
        """Return the dead letters of the current log that were not replayed, by partition and offset."""
        query = (
            "SELECT kafka_partition, kafka_offset, is_link, message_key, "
            "CASE WHEN length(message_value) < 100000 THEN message_value END FROM crm_bot_rejects r "
            "WHERE topic = %s AND NOT EXISTS (SELECT 1 FROM crm_bot_replays p WHERE p.topic = r.topic "
            "AND p.kafka_partition = r.kafka_partition AND p.log_epoch = r.log_epoch "
            "AND p.kafka_offset = r.kafka_offset) "
            "AND NOT EXISTS (SELECT 1 FROM crm_bot_rejects n WHERE n.topic = r.topic "
            "AND n.kafka_partition = r.kafka_partition AND n.kafka_offset = r.kafka_offset "
            "AND n.log_epoch > r.log_epoch) ORDER BY 1, 2"
        )
        return [OpenReject((row[0], row[1]), *row[2:]) for row in self._query(query, topic)]

    def _query(self, query: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode(), parameters).fetchall()
