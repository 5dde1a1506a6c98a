"""Injects faults in turn. A fault is a function that breaks something, waits, and repairs it."""

import random
import threading
import time
from collections.abc import Callable, Iterable

from devstack.services import Service
from tests.chaos.world import World

Fault = Callable[["Nemesis"], None]

_TIMEOUT_SECONDS = 60.0


class Nemesis:
    """Injects faults, with pauses between them, into targets that the seed decides."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._pause = threading.Event()

    def inject(self, faults: Iterable[Fault]) -> None:
        """Inject one fault after another."""
        for fault in faults:
            self.world.back_up(self.topic())
            self.world.history.add("fault", name=fault.__name__)
            fault(self)
            self.world.history.add("healed", name=fault.__name__)
            self.wait(0.5, 2.0)

    def wait(self, least: float, most: float) -> None:
        self._pause.wait(self.rng.uniform(least, most))

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_factor: float = 1.0) -> bool:
        """Wait until the condition holds. On a timeout, add a finding and return False."""
        seconds = _TIMEOUT_SECONDS * timeout_factor
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.world.add_finding(f"not within {seconds:.0f} s: {what}")
                return False
            self._pause.wait(0.2)
        return True

    def victim(self, role: str) -> Service:
        service = self.rng.choice(self.world.services[role])
        self.world.history.add("victim", service=service.name)
        return service

    def topic(self) -> str:
        return self.rng.choice(self.world.topics)
