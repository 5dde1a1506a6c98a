"""Processes that are killed, frozen, ended, or started once too often."""

import signal
from contextlib import suppress

import psutil

from tests.chaos.nemesis import Nemesis
from tests.chaos.services import Member
from tests.chaos.world import LONG_ENOUGH_TO_REBALANCE, PARTITIONS

_TRIES = 2_000


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
    for member in nemesis.world.crew["producer"] + nemesis.world.crew["consumer"]:
        member.send(signal.SIGKILL)
    nemesis.world.postgres.start()
    nemesis.world.kafka.start()


def freeze_a_consumer_in_mid_load_until_its_partitions_are_reassigned(nemesis: Nemesis) -> None:
    """The zombie: another one loads the range that it holds half loaded, then it goes on."""
    member = _frozen_in_mid_load(nemesis)
    nemesis.wait(LONG_ENOUGH_TO_REBALANCE, LONG_ENOUGH_TO_REBALANCE + 3.0)
    member.send(signal.SIGCONT)


def kill_a_consumer_in_mid_load(nemesis: Nemesis) -> None:
    _frozen_in_mid_load(nemesis).send(signal.SIGKILL)


def shut_down_a_consumer_in_mid_load(nemesis: Nemesis) -> None:
    nemesis.world.crew.restart(_frozen_in_mid_load(nemesis))


def shut_down_a_producer_in_mid_page(nemesis: Nemesis) -> None:
    member = nemesis.victim("producer")
    nemesis.wait(0.0, 0.2)
    nemesis.world.crew.restart(member)


def freeze_a_producer(nemesis: Nemesis) -> None:
    member = nemesis.victim("producer")
    member.send(signal.SIGSTOP)
    nemesis.wait(3.0, 5.0)
    member.send(signal.SIGCONT)


def run_a_second_producer(nemesis: Nemesis) -> None:
    """Each start fences the other one, which is restarted, and so on."""
    first = nemesis.victim("producer")
    role = first.name.rpartition("-")[0]
    with nemesis.world.crew.expecting(role, "fenced by another producer") as has_stopped:
        second = nemesis.world.crew.hire(role, first.environment, *first.command)
        nemesis.wait_until(has_stopped.is_set, f"a {role} is fenced by another")
        nemesis.wait(0.0, 5.0)
        nemesis.world.crew.retire(second)


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
    crew, topic = nemesis.world.crew, nemesis.topic()
    for member in nemesis.world.consumers(topic):
        crew.retire(member)
    nemesis.wait(0.0, 2.0)
    for _ in range(PARTITIONS + 1):
        nemesis.world.consumer(topic)
    nemesis.wait(3.0, 8.0)
    for member in nemesis.world.consumers(topic)[2:]:
        crew.retire(member)


def restart_everything_in_turn(nemesis: Nemesis) -> None:
    for member in nemesis.world.crew["producer"] + nemesis.world.crew["consumer"]:
        nemesis.world.crew.restart(member)


def _frozen_in_mid_load(nemesis: Nemesis) -> Member:
    """Stop a consumer with a transaction open, if one can be caught in it."""
    member = nemesis.victim("consumer")
    for _ in range(_TRIES):
        member.send(signal.SIGSTOP)
        if nemesis.world.warehouse.is_loading(member.name):
            nemesis.world.history.add("frozen", service=member.name)
            break
        member.send(signal.SIGCONT)
        nemesis.wait(0.0, 0.01)
    return member
