"""A real Kafka broker and a real PostgreSQL from packages alone, for the demo and the tests."""

from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.server import DevstackError

__all__ = ["DevstackError", "Kafka", "Postgres"]
