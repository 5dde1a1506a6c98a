"""What to expect of a lead, measured on a sample: how many rows, and how soon."""

import random
from bisect import bisect_left

from crmbot_core.contracts.models import Segment
from crmbot_generator.calendar.days import DAY
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS
from crmbot_generator.world.world import World

_LEADS = 400  # of each segment
_DAY = 738_000  # any Monday to Friday


class Expectation:
    """Rows of leads by segment and age."""

    def __init__(self, mrf: str, parameters: Parameters, seed: int) -> None:
        small = parameters.size.model_copy(update={"clients": 2_000})
        world = World(mrf, parameters.model_copy(update={"size": small}), seed, _DAY, 1.0)
        world.rows_of(_DAY, ())
        rng = random.Random(f"{seed} expectation")
        self._ages: dict[Segment, list[float]] = {}
        self._orders: dict[Segment, int] = {}
        for segment in SEGMENTS:
            ages: list[float] = []
            before = world.next_order
            for _ in range(_LEADS):
                rows = world.lead(rng, _DAY, segment)
                ages += [(row.at - rows[0].at) / DAY for row in rows]
            self._ages[segment] = sorted(ages)
            self._orders[segment] = world.next_order - before
        shares = parameters.segments
        leads = sum(shares[segment].leads for segment in SEGMENTS)
        self.rows_per_lead = (
            sum(shares[segment].leads * self.rows_within(segment, 10_000) for segment in SEGMENTS) / leads
        )

    def rows_within(self, segment: Segment, days: float) -> float:
        """Return the mean number of rows that a lead brings within so many days."""
        return bisect_left(self._ages[segment], days) / _LEADS

    def orders(self, segment: Segment) -> float:
        """Return the share of leads that become orders."""
        return self._orders[segment] / _LEADS
