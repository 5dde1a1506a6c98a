from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from devstack import DevstackError, Kafka


def send(kafka: Kafka, value: str) -> None:
    failures = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce("greetings", value, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(20) == 0
    assert failures == [None]


def receive(kafka: Kafka, count: int) -> list[str]:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": str(uuid4()),
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["greetings"])
    try:
        messages = consumer.consume(count, timeout=20)
        return [(message.value() or b"").decode() for message in messages]
    finally:
        consumer.close()


def test_messages_survive_stop_and_kill(tmp_path: Path) -> None:
    with Kafka(tmp_path / "Кафка 1") as kafka:
        address = kafka.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([NewTopic("greetings", 1, 1)])["greetings"].result(20)
        send(kafka, "before the stop")
    with Kafka(tmp_path / "Кафка 1") as kafka:
        send(kafka, "before the kill")
        kafka.kill()
        with pytest.raises(DevstackError, match="not running"):
            _ = kafka.pid
        kafka.start()
        assert kafka.bootstrap_servers == address
        assert receive(kafka, 2) == ["before the stop", "before the kill"]


def test_a_failed_start_quotes_the_log(tmp_path: Path) -> None:
    kafka = Kafka(tmp_path, settings={"log.retention.ms": "soon"})
    with pytest.raises(DevstackError, match=r"Invalid value soon for configuration log\.retention\.ms"):
        kafka.start()
