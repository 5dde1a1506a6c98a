"""Partitions that change hands, and come back, while loads are under way."""

from tests.chaos.faults.topics import retired
from tests.chaos.nemesis import Nemesis
from tests.chaos.services import Member

_TIMES = 4
_ASSIGNED = b'"event": "assigned"'
_LOOKS = 60


def rebalance_during_slow_loads(nemesis: Nemesis) -> None:
    """A consumer joins and leaves again: it takes partitions from the only other one, and gives them back.

    Or it loads nothing, so that they come back where they were, though the other one had read further. What
    that one had not loaded comes again, slowly.
    """
    world, topic = nemesis.world, nemesis.topic()
    others = retired(nemesis, world.consumers(topic)[1:])
    for _ in range(_TIMES):
        loads = nemesis.rng.random() < 0.5
        with world.to_warehouse.slowed() if loads else world.to_kafka.slowed():
            joined = world.consumer(topic, **({} if loads else {"BATCH_SECONDS": "60"}))
            _wait_for_partitions(nemesis, joined)
            nemesis.wait(0.5, 2.0)
            world.crew.retire(joined)
            nemesis.wait(0.5, 1.5)
    for member in others:
        world.crew.rehire(member)


def _wait_for_partitions(nemesis: Nemesis, consumer: Member) -> None:
    """Wait until it has been given partitions; there may be none for it."""
    for _ in range(_LOOKS):
        if _ASSIGNED in consumer.log.read_bytes():
            return
        nemesis.wait(0.1, 0.3)
