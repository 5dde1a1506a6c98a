"""The client master: who the clients are, for ever, and which services they have.

A client's segment and branch are drawn once, and the name follows from the number. What a client has changes
as orders are connected and services are left.
"""

import random
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from crmbot_core.contracts.models import Segment
from crmbot_generator.chance import Choice
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS, Catalogue, Service
from crmbot_generator.world.regions import Branch

_SECOND_SERVICE = 0.35  # of the clients of the first day have one


class Client(NamedTuple):
    """A client as the master has it; `services` and `left` are sets of bits."""

    number: int
    segment: Segment
    branch: Branch
    services: int
    left: int


class Clients:
    """All clients of a macro-regional branch, ten bytes each."""

    def __init__(
        self, parameters: Parameters, branches: list[Branch], catalogue: Catalogue, seed: int
    ) -> None:
        self._branches = branches
        self._catalogue = catalogue
        self._kinds = bytearray()
        self._services, self._left = array("H"), array("H")
        self._known: dict[tuple[Segment, int], array[int]] = {
            (segment, branch.number): array("I") for segment in SEGMENTS for branch in branches
        }
        self._changed = bytearray()  # 1 for each client that has
        self._by_branch = Choice(branches, [branch.weight for branch in branches])
        rng = random.Random(f"{seed} clients")
        shares = parameters.segments
        segments = Choice(SEGMENTS, [shares[segment].clients for segment in SEGMENTS])
        for number in range(parameters.size.clients):
            segment = segments.draw(rng)
            self.add(segment, self._by_branch.draw(rng))
            self._services[number] = self._first_services(rng, segment)
        self._changed = bytearray(len(self))

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, segment: Segment, branch: Branch) -> int:
        """Add a client who has nothing yet, and return the number, from 0."""
        number = len(self._kinds)
        self._kinds.append(SEGMENTS.index(segment) * 32 + branch.number)
        self._services.append(0)
        self._left.append(0)
        self._known[segment, branch.number].append(number)
        self._changed.append(1)
        return number

    def branch_of_a_lead(self, rng: random.Random) -> Branch:
        """Draw the branch that a lead comes to."""
        return self._by_branch.draw(rng)

    def known(self, rng: random.Random, segment: Segment, branch: Branch) -> int | None:
        """Draw a client who is known, None if there is none."""
        numbers = self._known[segment, branch.number]
        return numbers[int(rng.random() * len(numbers))] if numbers else None

    def has(self, number: int, service: Service) -> bool:
        """Return whether a client has a service, or has ordered one that will be connected."""
        return bool(self._services[number] & service.bit)

    def has_any(self, number: int) -> bool:
        """Return whether a client has any service."""
        return bool(self._services[number])

    def connect(self, number: int, service: Service) -> None:
        """Give a client a service."""
        self._services[number] |= service.bit
        self._left[number] &= ~service.bit
        self._changed[number] = 1

    def leave(self, rng: random.Random) -> None:
        """Let a client, drawn by chance, leave one of the services."""
        number = int(rng.random() * len(self._kinds))
        services = self._services[number]
        if services:
            bit = services & -services
            self._services[number] &= ~bit
            self._left[number] |= bit
            self._changed[number] = 1

    def left(self, number: int) -> Service | None:
        """Return a service that the client had and left."""
        left = self._left[number]
        return self._catalogue.services[(left & -left).bit_length() - 1] if left else None

    def changes(self) -> Iterator[Client]:
        """Yield the clients that are new or have changed since the last call, to be kept."""
        number = -1
        while (number := self._changed.find(1, number + 1)) >= 0:
            self._changed[number] = 0
            segment, branch = divmod(self._kinds[number], 32)
            yield Client(
                number, SEGMENTS[segment], self._branches[branch], self._services[number], self._left[number]
            )

    def restore(self, number: int, segment: Segment, branch: int, services: int, left: int) -> None:
        """Take over what was kept of a client; call it in the order of numbers."""
        if number == len(self._kinds):
            self.add(segment, self._branches[branch])
        self._services[number], self._left[number] = services, left
        self._changed[number] = 0

    def _first_services(self, rng: random.Random, segment: Segment) -> int:
        services = self._catalogue.wanted[segment].draw(rng).bit
        if rng.random() < _SECOND_SERVICE:
            services |= self._catalogue.wanted[segment].draw(rng).bit
        return services
