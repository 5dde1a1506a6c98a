r"""The baselines of the comparisons: `\copy`, a loop of poll and INSERT, and a bare producer."""

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.measure import BenchError
from devstack.postgres import bin_directory

_COMMIT_ROWS = 1_000


def psql_copy(dsn: str, table: str, columns: Sequence[str], direction: str, file: Path) -> float:
    r"""Run psql's `\copy` `from` or `to` a local file; return its seconds, with the start of psql."""
    command = f"\\copy {table} ({', '.join(columns)}) {direction} '{file}'"
    began = time.monotonic()
    psql = bin_directory() / "psql"
    done = subprocess.run([psql, "-X", "-q", "-d", dsn, "-c", command], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"psql failed: {done.stderr.strip()}")
    return time.monotonic() - began


def insert_loop(bootstrap: str, dsn: str, topic: str, table: str, columns: Sequence[str], rows: int) -> float:
    """Load the first `rows` messages with a loop of poll and INSERT.

    Returns:
        The seconds from the assignment of partitions to the last commit.
    """
    names = [*columns, "kafka_offset"]
    insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})".encode()
    began = 0.0

    def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        nonlocal began
        began = time.monotonic()

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"bench-{uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic], on_assign=on_assign)
    loaded = 0
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        while loaded < rows:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error() is not None:
                raise BenchError(f"{topic} cannot be read: {message.error()}")
            record = json.loads(message.value() or b"")
            values = [record[column] for column in columns]
            cursor.execute(insert, [*values, message.offset()])
            loaded += 1
            if loaded % _COMMIT_ROWS == 0 or loaded == rows:
                connection.commit()
                consumer.commit(asynchronous=False)
    seconds = time.monotonic() - began
    consumer.close()
    return seconds


def bare_produce(bootstrap: str, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> float:
    """Send (key, value) pairs with an idempotent producer, without transactions.

    Returns:
        The seconds without the first message, which waits for connections and a producer id.
    """
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "lz4"}
    )
    producer.produce(topic, messages[0][1], messages[0][0])
    producer.flush(60)
    began = time.monotonic()
    for key, value in messages[1:]:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(600):
        raise BenchError(f"not all messages reached {topic}")
    return time.monotonic() - began
