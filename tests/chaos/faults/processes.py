"""Processes that are killed, frozen, shut down, or started twice."""

import signal
from contextlib import suppress

import psutil

from devstack.services import Service
from tests.chaos.nemesis import Nemesis
from tests.chaos.world import PARTITIONS, REBALANCE_SECONDS

_ATTEMPTS = 2_000


def kill_producers(nemesis: Nemesis) -> None:
    for _ in range(3):
        nemesis.victim("producer").send(signal.SIGKILL)
        nemesis.wait(0.5, 3.0)


def kill_consumers(nemesis: Nemesis) -> None:
    for _ in range(3):
        nemesis.victim("consumer").send(signal.SIGKILL)
        nemesis.wait(0.5, 3.0)


def kill_a_bot(nemesis: Nemesis) -> None:
    nemesis.victim("bot").send(signal.SIGKILL)


def kill_the_broker(nemesis: Nemesis) -> None:
    nemesis.world.kafka.kill()
    nemesis.wait(0.5, 5.0)
    nemesis.world.kafka.start()


def kill_the_warehouse(nemesis: Nemesis) -> None:
    nemesis.world.postgres.kill()
    nemesis.wait(0.5, 5.0)
    nemesis.world.postgres.start()


def kill_everything_at_once(nemesis: Nemesis) -> None:
    nemesis.world.kafka.kill()
    nemesis.world.postgres.kill()
    for service in nemesis.world.services["producer"] + nemesis.world.services["consumer"]:
        service.send(signal.SIGKILL)
    nemesis.world.postgres.start()
    nemesis.world.kafka.start()


def freeze_a_consumer_in_mid_load_until_its_partitions_are_reassigned(nemesis: Nemesis) -> None:
    """A zombie: it resumes its load after another consumer has loaded the same range."""
    service = _freeze_in_mid_load(nemesis)
    nemesis.wait(REBALANCE_SECONDS, REBALANCE_SECONDS + 3.0)
    service.send(signal.SIGCONT)


def kill_a_consumer_in_mid_load(nemesis: Nemesis) -> None:
    _freeze_in_mid_load(nemesis).send(signal.SIGKILL)


def shut_down_a_consumer_in_mid_load(nemesis: Nemesis) -> None:
    nemesis.world.services.restart(_freeze_in_mid_load(nemesis))


def shut_down_a_producer_in_mid_page(nemesis: Nemesis) -> None:
    service = nemesis.victim("producer")
    nemesis.wait(0.0, 0.2)
    nemesis.world.services.restart(service)


def freeze_a_producer(nemesis: Nemesis) -> None:
    service = nemesis.victim("producer")
    service.send(signal.SIGSTOP)
    nemesis.wait(3.0, 5.0)
    service.send(signal.SIGCONT)


def run_a_second_producer(nemesis: Nemesis) -> None:
    """Each one fences the other when it is restarted."""
    first = nemesis.victim("producer")
    role = first.name.rpartition("-")[0]
    with nemesis.world.services.expecting_exit(role, "fenced by another producer") as has_stopped:
        second = nemesis.world.services.start(role, first.environment, *first.command)
        nemesis.wait_until(has_stopped.is_set, f"a {role} is fenced by another")
        nemesis.wait(0.0, 5.0)
        nemesis.world.services.stop(second)


def freeze_the_warehouse(nemesis: Nemesis) -> None:
    processes = [psutil.Process(nemesis.world.postgres.pid)]
    processes += processes[0].children()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    nemesis.wait(1.0, 5.0)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def scale_consumers_to_zero_and_beyond_the_partitions(nemesis: Nemesis) -> None:
    services, topic = nemesis.world.services, nemesis.topic()
    for service in nemesis.world.consumers(topic):
        services.stop(service)
    nemesis.wait(0.0, 2.0)
    for _ in range(PARTITIONS + 1):
        nemesis.world.start_consumer(topic)
    nemesis.wait(3.0, 8.0)
    for service in nemesis.world.consumers(topic)[2:]:
        services.stop(service)


def restart_everything_in_turn(nemesis: Nemesis) -> None:
    for service in nemesis.world.services["producer"] + nemesis.world.services["consumer"]:
        nemesis.world.services.restart(service)


def _freeze_in_mid_load(nemesis: Nemesis) -> Service:
    """Stop a consumer that has an open transaction, if one can be caught."""
    service = nemesis.victim("consumer")
    for _ in range(_ATTEMPTS):
        service.send(signal.SIGSTOP)
        if nemesis.world.warehouse.is_loading(service.name):
            nemesis.world.history.add("frozen", service=service.name)
            break
        service.send(signal.SIGCONT)
        nemesis.wait(0.0, 0.01)
    return service
