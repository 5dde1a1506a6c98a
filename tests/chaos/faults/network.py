"""A network that is cut, or slow."""

from contextlib import suppress

import psutil

from tests.chaos.faults.processes import kill_consumers, kill_producers
from tests.chaos.nemesis import Nemesis
from tests.chaos.proxy import Proxy, everyone, nobody
from tests.chaos.services import Member
from tests.chaos.world import LONG_ENOUGH_TO_REBALANCE


def disconnect_one_consumer_from_the_broker(nemesis: Nemesis) -> None:
    """Its partitions are given away, while it still reaches the warehouse."""
    _cut(nemesis, nemesis.world.to_kafka, nemesis.victim("consumer"))


def disconnect_one_consumer_from_the_warehouse(nemesis: Nemesis) -> None:
    _cut(nemesis, nemesis.world.to_warehouse, nemesis.victim("consumer"))


def disconnect_everyone_from_the_broker(nemesis: Nemesis) -> None:
    nemesis.world.to_kafka.is_cut = everyone
    nemesis.wait(1.0, LONG_ENOUGH_TO_REBALANCE + 2.0)
    nemesis.world.to_kafka.is_cut = nobody


def slow_the_network_down(nemesis: Nemesis) -> None:
    with nemesis.world.to_kafka.slowed(), nemesis.world.to_warehouse.slowed():
        nemesis.wait(4.0, 8.0)


def kill_producers_on_a_slow_network(nemesis: Nemesis) -> None:
    """Every step of a transaction lasts longer, so a kill falls between two of them more often."""
    with nemesis.world.to_kafka.slowed():
        kill_producers(nemesis)


def kill_consumers_on_a_slow_network(nemesis: Nemesis) -> None:
    with nemesis.world.to_warehouse.slowed():
        kill_consumers(nemesis)


def _cut(nemesis: Nemesis, proxy: Proxy, member: Member) -> None:
    pid = member.process.pid
    known: dict[int, bool] = {}

    def is_the_victims(port: int) -> bool:
        if port not in known:
            with suppress(psutil.NoSuchProcess):
                ours = {connection.laddr.port for connection in psutil.Process(pid).net_connections("tcp4")}
                known[port] = port in ours
        return known.get(port, False)

    proxy.is_cut = is_the_victims
    nemesis.wait(LONG_ENOUGH_TO_REBALANCE, LONG_ENOUGH_TO_REBALANCE + 3.0)
    proxy.is_cut = nobody
