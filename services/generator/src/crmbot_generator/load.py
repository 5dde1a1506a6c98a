"""A load test: as many rows a second as wanted, from a world so large that they happen at the same time.

Each row is one of a lead somewhere in its life, as in a branch many times as large; what follows for the lead
follows at its own pace. Leads, clients and managers have numbers of their own; the bot's world stands still.
"""

import heapq
import math
import random
from itertools import groupby
from operator import itemgetter

from crmbot_generator.calendar.days import utc_day
from crmbot_generator.chance import Choice
from crmbot_generator.lives.story import Row
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS
from crmbot_generator.world.world import LOAD_NUMBERS, World

_MOST_BRANCHES = 20  # by which clients and managers grow; beyond it they are only busier
_LONG = 12  # moments
_KEPT = 900_000  # milliseconds of what follows for a lead


class Load:
    """The rows of a load test.

    Args:
        mrf: the macro-regional branch.
        parameters: of a branch of the usual size.
        rate: rows a second.
        now: milliseconds since 1970.
        next_lead, next_order: the next numbers.
    """

    def __init__(
        self, mrf: str, parameters: Parameters, rate: float, now: int, next_lead: int, next_order: int
    ) -> None:
        size = parameters.size
        branches = min(_MOST_BRANCHES, math.ceil(rate * 28_800 / size.rows_per_day))
        large = size.model_copy(
            update={"managers": size.managers * branches, "clients": size.clients * branches}
        )
        self._rng = random.Random()
        self._day = utc_day(now)
        self._world = World(
            mrf,
            parameters.model_copy(update={"size": large}),
            self._rng.getrandbits(32),
            self._day - 1,
            1.0,
            LOAD_NUMBERS,
        )
        self._world.next_lead, self._world.next_order = next_lead, next_order
        self._world.rows_of(self._day, ())
        self._segments = Choice(SEGMENTS, [parameters.segments[segment].leads for segment in SEGMENTS])
        self._soon: list[tuple[int, int, list[Row]]] = []
        self._pushed = 0

    def rows(self, number: int, now: int) -> list[Row]:
        """Return so many rows that happen now; an order and the action that places it come together."""
        rows: list[Row] = []
        while len(rows) < number:
            room = number - len(rows)
            if self._soon and self._soon[0][0] <= now and len(self._soon[0][2]) <= room:
                rows += heapq.heappop(self._soon)[2]
            else:
                rows += self._from_the_life_of_a_lead(now, room)
        return rows

    def _from_the_life_of_a_lead(self, now: int, room: int) -> list[Row]:
        """Return what happens to some lead now, nothing if that is more than there is room for."""
        life = self._world.lead(self._rng, self._day, self._segments.draw(self._rng))
        moments = [(at, list(rows)) for at, rows in groupby(life, key=itemgetter(0))]
        if self._rng.random() * _LONG > len(moments):
            return []  # of the leads of a moment, more are in a long life than in a short one
        chosen, present = self._rng.choice(moments)
        if len(present) > room:
            return []
        for at, rows in moments:
            if chosen < at <= chosen + _KEPT:
                later = now + at - chosen
                self._pushed += 1
                heapq.heappush(self._soon, (later, self._pushed, [row._replace(at=later) for row in rows]))
        return [row._replace(at=now) for row in present]
