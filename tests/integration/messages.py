"""Messages of a foreign producer, valid ones and contract violations."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from confluent_kafka import Producer

SOURCE = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"


def action(mrf: str, transaction_id: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  (any JSON)
    """Return a message of the actions stream that follows transaction_id - 1 in its chain, with changes."""
    return {
        "kafka_partition": 0,
        "previous_id": transaction_id - 1,
        "schema_version": 1,
        "transaction_id": transaction_id,
        "event_id": str(UUID(int=transaction_id)),
        "source_id": SOURCE,
        "mrf": mrf,
        "occurred_at": "2026-02-28T09:30:00.250Z",
        "recorded_at": "2026-02-28T09:30:01.000Z",
        "lead_id": "L1",
        "client_id": "C1",
        "segment": "individual",
        "manager_id": "M1",
        "manager_name": "Анна Петрова",
        "branch": "Московский филиал",
        "city": "Москва",
        "client_name": "Иван Иванов",
        "action": "call",
        "channel": "phone",
        "product": "Интернет",
        "result": "interested",
        "refusal_reason": None,
        "potential_revenue": "650.00",
    } | changes


def send(
    bootstrap: str,
    topic: str,
    values: Sequence[dict[str, Any] | bytes | None],
    key: bytes = b"L1",
    partition: int = 0,
) -> None:
    """Send values to a partition, in order."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.max.bytes": 2_000_000}
    )
    for value in values:
        raw = json.dumps(value, ensure_ascii=False).encode() if isinstance(value, dict) else value
        producer.produce(topic, raw, key, partition=partition)
    assert producer.flush(30) == 0
