"""Does faults in turn. Each is a function that breaks something, waits, and puts it right again."""

import random
import threading
import time
from collections.abc import Callable, Iterable

from tests.chaos.services import Member
from tests.chaos.world import World

Fault = Callable[["Nemesis"], None]

_PATIENCE_SECONDS = 60.0


class Nemesis:
    """Does faults, with pauses between them; what they hit is drawn by the seed."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._pause = threading.Event()

    def torment(self, faults: Iterable[Fault]) -> None:
        """Do one fault after another."""
        for fault in faults:
            self.world.keep_copy(self.topic())
            self.world.history.add("fault", name=fault.__name__)
            fault(self)
            self.world.history.add("healed", name=fault.__name__)
            self.wait(0.5, 2.0)

    def wait(self, least: float, most: float) -> None:
        self._pause.wait(self.rng.uniform(least, most))

    def wait_until(self, condition: Callable[[], bool], what: str, patience: float = 1.0) -> bool:
        """Wait for something that has to come about; it is a finding if it does not, and False."""
        seconds = _PATIENCE_SECONDS * patience
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.world.find(f"not within {seconds:.0f} s: {what}")
                return False
            self._pause.wait(0.2)
        return True

    def victim(self, role: str) -> Member:
        member = self.rng.choice(self.world.crew[role])
        self.world.history.add("victim", service=member.name)
        return member

    def topic(self) -> str:
        return self.rng.choice(self.world.topics)
