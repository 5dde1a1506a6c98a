"""The faults. Each one is a function that breaks something, waits, and puts it right again."""

import random
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress

import psutil

from tests.chaos import foreign
from tests.chaos.proxy import Proxy, everyone, nobody
from tests.chaos.services import Member
from tests.chaos.world import PARTITIONS, World

_TRIES = 2_000
_LONG_ENOUGH_TO_REBALANCE = 9.0  # the group's session time-out is 6 s

Fault = Callable[["Nemesis"], None]


class Nemesis:
    """Does faults, with pauses between them; what they hit is drawn by the seed."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._pause = threading.Event()

    def torment(self, faults: Iterable[Fault]) -> None:
        """Do one fault after another."""
        for fault in faults:
            self.world.history.add("fault", name=fault.__name__)
            fault(self)
            self.world.history.add("healed", name=fault.__name__)
            self.wait(0.5, 3.0)

    def wait(self, least: float, most: float) -> None:
        self._pause.wait(self.rng.uniform(least, most))

    def victim(self, role: str) -> Member:
        member = self.rng.choice(self.world.crew[role])
        self.world.history.add("victim", service=member.name)
        return member

    def topic(self) -> str:
        return self.rng.choice(self.world.topics)


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


def freeze_a_consumer_in_mid_load_until_its_partitions_are_given_away(nemesis: Nemesis) -> None:
    """The zombie: another one loads the range that it holds half loaded, then it goes on."""
    member = nemesis.victim("consumer")
    for _ in range(_TRIES):
        member.send(signal.SIGSTOP)
        if nemesis.world.is_loading(member):
            break
        member.send(signal.SIGCONT)
        nemesis.wait(0.0, 0.01)
    nemesis.wait(_LONG_ENOUGH_TO_REBALANCE, _LONG_ENOUGH_TO_REBALANCE + 3.0)
    member.send(signal.SIGCONT)


def freeze_a_producer(nemesis: Nemesis) -> None:
    member = nemesis.victim("producer")
    member.send(signal.SIGSTOP)
    nemesis.wait(3.0, 5.0)
    member.send(signal.SIGCONT)


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


def cut_one_consumer_from_the_broker(nemesis: Nemesis) -> None:
    """Its partitions are given away, while it still reaches the warehouse."""
    _cut(nemesis, nemesis.world.to_kafka, nemesis.victim("consumer"))


def cut_one_consumer_from_the_warehouse(nemesis: Nemesis) -> None:
    _cut(nemesis, nemesis.world.to_warehouse, nemesis.victim("consumer"))


def cut_everyone_from_the_broker(nemesis: Nemesis) -> None:
    nemesis.world.to_kafka.is_cut = everyone
    nemesis.wait(1.0, _LONG_ENOUGH_TO_REBALANCE)
    nemesis.world.to_kafka.is_cut = nobody


def slow_the_network_down(nemesis: Nemesis) -> None:
    for proxy in (nemesis.world.to_kafka, nemesis.world.to_warehouse):
        proxy.delay_seconds, proxy.is_slow = 0.05, everyone
    nemesis.wait(4.0, 8.0)
    for proxy in (nemesis.world.to_kafka, nemesis.world.to_warehouse):
        proxy.is_slow = nobody


def scale_consumers_to_none_and_beyond_the_partitions(nemesis: Nemesis) -> None:
    crew, topic = nemesis.world.crew, nemesis.topic()
    _, _, stream, mrf = topic.split("_")
    for member in crew[f"consumer-{mrf}-{stream}"]:
        crew.retire(member)
    nemesis.wait(0.0, 2.0)
    for _ in range(PARTITIONS + 1):
        nemesis.world.consumer(topic)
    nemesis.wait(3.0, 8.0)
    for member in crew[f"consumer-{mrf}-{stream}"][2:]:
        crew.retire(member)


def restart_everything_in_turn(nemesis: Nemesis) -> None:
    for member in nemesis.world.crew["producer"] + nemesis.world.crew["consumer"]:
        nemesis.world.crew.restart(member)


def lock_a_bots_file(nemesis: Nemesis) -> None:
    with closing(sqlite3.connect(nemesis.world.file(nemesis.topic()), timeout=20)) as file:
        file.execute("BEGIN IMMEDIATE")
        nemesis.wait(2.0, 5.0)
        file.execute("ROLLBACK")


def checkpoint_and_vacuum_a_bots_file(nemesis: Nemesis) -> None:
    with closing(sqlite3.connect(nemesis.world.file(nemesis.topic()), timeout=20)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.OperationalError):  # busy: the bot and the producer are at work
            file.execute("VACUUM")


def send_foreign_messages(nemesis: Nemesis) -> None:
    foreign.send(nemesis.world, nemesis.topic(), nemesis.rng)


FAULTS: list[Fault] = [
    kill_producers,
    kill_consumers,
    kill_a_bot,
    kill_the_broker,
    kill_the_warehouse,
    kill_everything_at_once,
    freeze_a_consumer_in_mid_load_until_its_partitions_are_given_away,
    freeze_a_producer,
    freeze_the_warehouse,
    cut_one_consumer_from_the_broker,
    cut_one_consumer_from_the_warehouse,
    cut_everyone_from_the_broker,
    slow_the_network_down,
    scale_consumers_to_none_and_beyond_the_partitions,
    restart_everything_in_turn,
    lock_a_bots_file,
    checkpoint_and_vacuum_a_bots_file,
    send_foreign_messages,
]


def drawn(number: int, rng: random.Random) -> list[Fault]:
    """Return so many faults, each of them once before any of them twice."""
    deck: list[Fault] = []
    while len(deck) < number:
        deck += rng.sample(FAULTS, len(FAULTS))
    return deck[:number]


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
    nemesis.wait(_LONG_ENOUGH_TO_REBALANCE, _LONG_ENOUGH_TO_REBALANCE + 3.0)
    proxy.is_cut = nobody
