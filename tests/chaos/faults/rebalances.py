"""Partitions that are revoked and assigned again during loads."""

from devstack.services import Service
from tests.chaos.faults.topics import stop_services
from tests.chaos.nemesis import Nemesis

_ROUNDS = 4
_ASSIGNED = b'"event": "assigned"'
_POLLS = 60


def rebalance_during_slow_loads(nemesis: Nemesis) -> None:
    """A second consumer joins and leaves: partitions of the first are revoked and assigned back.

    In some rounds the second loads nothing, so that the first, which had read further, must read messages
    again, on a slow network.
    """
    world, topic = nemesis.world, nemesis.topic()
    others = stop_services(nemesis, world.consumers(topic)[1:])
    for _ in range(_ROUNDS):
        loads = nemesis.rng.random() < 0.5
        with world.to_warehouse.slowed() if loads else world.to_kafka.slowed():
            joined = world.start_consumer(topic, **({} if loads else {"BATCH_SECONDS": "60"}))
            _wait_for_partitions(nemesis, joined)
            nemesis.wait(0.5, 2.0)
            world.services.stop(joined)
            nemesis.wait(0.5, 1.5)
    for service in others:
        world.services.start_again(service)


def _wait_for_partitions(nemesis: Nemesis, consumer: Service) -> None:
    """Wait until it is assigned partitions, for a limited time: there may be none for it."""
    for _ in range(_POLLS):
        if _ASSIGNED in consumer.log.read_bytes():
            return
        nemesis.wait(0.1, 0.3)
