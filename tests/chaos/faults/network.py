"""A network that is partitioned, or slow."""

from contextlib import suppress

import psutil

from devstack.services import Service
from tests.chaos.faults.processes import kill_consumers, kill_producers
from tests.chaos.nemesis import Nemesis
from tests.chaos.proxy import Proxy, all_clients, no_client
from tests.chaos.world import REBALANCE_SECONDS


def disconnect_one_consumer_from_the_broker(nemesis: Nemesis) -> None:
    """Its partitions are reassigned while it still reaches the warehouse."""
    _disconnect(nemesis, nemesis.world.to_kafka, nemesis.victim("consumer"))


def disconnect_one_consumer_from_the_warehouse(nemesis: Nemesis) -> None:
    _disconnect(nemesis, nemesis.world.to_warehouse, nemesis.victim("consumer"))


def disconnect_everyone_from_the_broker(nemesis: Nemesis) -> None:
    nemesis.world.to_kafka.is_disconnected = all_clients
    nemesis.wait(1.0, REBALANCE_SECONDS + 2.0)
    nemesis.world.to_kafka.is_disconnected = no_client


def slow_the_network_down(nemesis: Nemesis) -> None:
    with nemesis.world.to_kafka.slowed(), nemesis.world.to_warehouse.slowed():
        nemesis.wait(4.0, 8.0)


def kill_producers_on_a_slow_network(nemesis: Nemesis) -> None:
    """Every step of a transaction takes longer, so that more kills hit the time between two steps."""
    with nemesis.world.to_kafka.slowed():
        kill_producers(nemesis)


def kill_consumers_on_a_slow_network(nemesis: Nemesis) -> None:
    with nemesis.world.to_warehouse.slowed():
        kill_consumers(nemesis)


def _disconnect(nemesis: Nemesis, proxy: Proxy, service: Service) -> None:
    pid = service.process.pid
    known: dict[int, bool] = {}

    def is_the_victims(port: int) -> bool:
        if port not in known:
            with suppress(psutil.NoSuchProcess):
                ours = {connection.laddr.port for connection in psutil.Process(pid).net_connections("tcp4")}
                known[port] = port in ours
        return known.get(port, False)

    proxy.is_disconnected = is_the_victims
    nemesis.wait(REBALANCE_SECONDS, REBALANCE_SECONDS + 3.0)
    proxy.is_disconnected = no_client
