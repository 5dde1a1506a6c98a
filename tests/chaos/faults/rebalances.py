"""Partitions that change hands, and come back, while loads are under way."""

from tests.chaos.nemesis import Nemesis
from tests.chaos.proxy import everyone, nobody

_TIMES = 4


def rebalance_while_loads_take_long(nemesis: Nemesis) -> None:
    """A consumer joins and leaves again: it takes partitions away from the others, and gives them back."""
    world, topic = nemesis.world, nemesis.topic()
    world.to_warehouse.is_slow = everyone
    for _ in range(_TIMES):
        joined = world.consumer(topic)
        nemesis.wait(2.0, 4.0)
        world.crew.retire(joined)
        nemesis.wait(0.5, 1.5)
    world.to_warehouse.is_slow = nobody
