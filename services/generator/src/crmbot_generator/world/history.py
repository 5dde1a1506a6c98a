"""The past of a new world: the rows of a span of time that begins and ends with a full pipeline."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from crmbot_generator.calendar.days import DAY, local_day, midnight
from crmbot_generator.lives.story import Row
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS
from crmbot_generator.world.expectation import Expectation
from crmbot_generator.world.regions import branches_of
from crmbot_generator.world.state import WorldState
from crmbot_generator.world.world import BURN_IN, World

# To reach a number of rows exactly, a day's leads are scaled within these limits, and leads are added to the
# last days, which are written when all is planned.
_CORRECTION = (0.9, 1.1)
_LAST_DAYS = 7


class Span(NamedTuple):
    """A time in milliseconds since 1970, `end` not in it."""

    start: int
    end: int


class History:
    """The rows of a new world in a span of time.

    Args:
        mrf: the macro-regional branch.
        parameters: of the world.
        seed: of the world.
        span: the rows' time.
        rows: how many are wanted, exactly; None for what comes of the parameters.
    """

    def __init__(
        self, mrf: str, parameters: Parameters, seed: int, span: Span, rows: int | None = None
    ) -> None:
        zones = [branch.timezone for branch in branches_of(mrf)]
        self._span = span
        self._start_day = min(local_day(span.start, zone) for zone in zones)
        self._last_day = max(local_day(span.end - 1, zone) for zone in zones)
        self._wanted = rows
        first_day = self._start_day - max(BURN_IN.values())
        expectation = Expectation(mrf, parameters, seed)
        self.world = World(mrf, parameters, seed, first_day, 1.0)
        expected = self._expected(expectation, zones[0])
        if rows is None:
            leads_per_day = parameters.size.rows_per_day / expectation.rows_per_lead
        else:
            leads_per_day = rows / expected[0]
        self.world.set_demand(leads_per_day)
        self._remaining = [leads_per_day * of_one for of_one in expected]
        self._rng = random.Random(f"{mrf} {seed} history")
        self._parameters, self._seed = parameters, seed
        self._first_day, self._leads_per_day = first_day, leads_per_day
        self._days: defaultdict[int, list[Row]] = defaultdict(list)
        self.future: list[Row] = []

    @property
    def end(self) -> int:
        """The end of the span."""
        return self._span.end

    @property
    def state(self) -> WorldState:
        """The state at the end of the span; read it after the rows."""
        return WorldState(
            parameters=self._parameters,
            seed=self._seed,
            first_day=self._first_day,
            leads_per_day=self._leads_per_day,
            planned_to=self._last_day,
            next_lead=self.world.next_lead,
            next_order=self.world.next_order,
            loads=self.world.managers.loads,
            clock=self._span.end,
        )

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the span in the order of time; what comes later is in `future` then."""
        yield from self._limited(self._planned()) if self._wanted is not None else self._planned()

    def _planned(self) -> Iterator[Row]:
        """Yield the rows of the span, at least as many as are wanted."""
        planned = 0
        for day in range(self._start_day - max(BURN_IN.values()), self._last_day + 1):
            segments = [s for s in SEGMENTS if day >= self._start_day - BURN_IN[s]]
            planned += self._add(
                self.world.rows_of(day, segments, self._scale(day, planned), self._span.start)
            )
            if day < self._last_day:
                # Leads of later local days come after this one in UTC.
                yield from self._taken(day - 1 - (_LAST_DAYS if self._wanted else 0))
        while self._wanted is not None and planned < self._wanted:
            planned += self._add(self._one_more_lead())
        yield from self._taken(self._last_day + 1)

    def _limited(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield as many rows as are wanted, and keep the others for later; an order stays with its action."""
        left = self._wanted or 0
        for _, moment in groupby(rows, key=itemgetter(0)):
            of_moment = list(moment)
            if len(of_moment) <= left:
                left -= len(of_moment)
                yield from of_moment
            else:
                self.future += of_moment

    def _expected(self, expectation: Expectation, zone: ZoneInfo) -> list[float]:
        """Return, for each day from the burn-in on, how many rows of the span it and the later ones bring."""
        first = self._start_day - max(BURN_IN.values())
        sums = [0.0]
        for day in range(self._last_day, first - 1, -1):
            at = midnight(day, zone)
            rows = 0.0
            for segment in SEGMENTS:
                if day >= self._start_day - BURN_IN[segment]:
                    until_end = expectation.rows_within(segment, (self._span.end - at) / DAY)
                    before = expectation.rows_within(segment, (self._span.start - at) / DAY)
                    rows += self.world.expected_leads(day, segment) * (until_end - before)
            sums.append(sums[-1] + rows)
        return sums[:0:-1]

    def _scale(self, day: int, planned: int) -> float:
        """Return by how much to scale a day's leads so that the wanted number of rows is met."""
        if self._wanted is None or day < self._start_day:
            return 1.0
        expected = self._remaining[day - self._start_day + max(BURN_IN.values())]
        least, most = _CORRECTION
        return min(most, max(least, (self._wanted - planned) / expected)) if expected > 0 else 1.0

    def _one_more_lead(self) -> list[Row]:
        """Return the rows of a lead of the last days."""
        first = max(self._span.start, self._span.end - _LAST_DAYS * DAY)
        while True:
            day = self._last_day - self._rng.randrange(_LAST_DAYS + 1)
            rows = self.world.lead(self._rng, day, "individual")
            if first <= rows[0].at < self._span.end:
                return rows

    def _add(self, rows: Iterable[Row]) -> int:
        """Keep the rows that do not lie before the span; return how many lie in it."""
        number = 0
        for row in rows:
            if row.at >= self._span.end:
                self.future.append(row)
            elif row.at >= self._span.start:
                self._days[row.at // DAY].append(row)
                number += 1
        return number

    def _taken(self, day: int) -> Iterator[Row]:
        """Yield the rows up to a UTC day, by number, in the order of time."""
        epoch = 719_163  # the number of 1970-01-01
        for number in sorted(key for key in self._days if key <= day - epoch):
            yield from sorted(self._days.pop(number), key=itemgetter(0))
