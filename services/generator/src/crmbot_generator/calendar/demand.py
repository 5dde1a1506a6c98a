"""How many leads come on a day, and when: season, weekday, holidays, campaigns and chance."""

import random
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from crmbot_core.contracts.models import Segment
from crmbot_generator.calendar.days import is_working
from crmbot_generator.chance import Choice, count
from crmbot_generator.parameters import ClientKind, Parameters
from crmbot_generator.world.catalogue import Catalogue, Service

_BUSINESS_DAYS = 365 / 247  # by which a working day has more leads than an average day
_YEAR = 365.25


@dataclass(frozen=True)
class Campaign:
    """Days on which a service is advertised to a segment, and by which factor its leads grow."""

    first: int
    last: int
    segment: Segment
    service: Service
    factor: float


class Demand:
    """The leads of each day.

    Args:
        parameters: of the world.
        catalogue: what campaigns advertise.
        seed: of the world; the same seed has the same campaigns.
        first_day: growth counts from it.
        leads_per_day: on an average day of the first year.
    """

    def __init__(
        self, parameters: Parameters, catalogue: Catalogue, seed: int, first_day: int, leads_per_day: float
    ) -> None:
        self._calendar = parameters.calendar
        self._shares = parameters.segments
        self._catalogue = catalogue
        self._seed = seed
        self._first_day = first_day
        self.leads_per_day = leads_per_day
        self._hours = {kind: Choice(range(24), weights) for kind, weights in self._calendar.hours.items()}

    def mean(self, day: int, segment: Segment) -> float:
        """Return the expected number of a segment's leads on a local day."""
        return self.leads_per_day * self._shares[segment].leads * self.factor(day, segment)

    def draw(self, rng: random.Random, day: int, segment: Segment, scale: float) -> int:
        """Draw the number of a segment's leads on a local day, `scale` times as many as usual."""
        return count(rng, scale * self.mean(day, segment), self._calendar.dispersion[segment])

    def draw_time(self, rng: random.Random, segment: Segment) -> int:
        """Draw when on its day a lead comes, in milliseconds after midnight."""
        return (self._hours[kind_of(segment)].draw(rng) * 3600_000) + int(rng.random() * 3600_000)

    def factor(self, day: int, segment: Segment) -> float:
        """Return a day's mean relative to an average day of the first year."""
        on = date.fromordinal(day)
        calendar = self._calendar
        growth: float = (1 + calendar.growth_per_year) ** ((day - self._first_day) / _YEAR)
        factor = growth * calendar.months[segment][on.month - 1]
        factor *= calendar.weekdays[kind_of(segment)][on.weekday()]
        if segment == "individual":
            if on.month == 1 and on.day <= 8:
                factor *= calendar.holidays.new_year
            elif on.weekday() < 5 and not is_working(day):
                factor *= calendar.holidays.individual
        else:
            factor = (factor or 0.75) * _BUSINESS_DAYS if is_working(day) else 0.0
        campaign = self.campaign(day, segment)
        return factor * (campaign.factor if campaign else 1.0)

    def campaign(self, day: int, segment: Segment) -> Campaign | None:
        """Return the campaign for a segment on a day."""
        for campaign in self._campaigns(date.fromordinal(day).year):
            if campaign.first <= day <= campaign.last and campaign.segment == segment:
                return campaign
        return None

    @lru_cache(maxsize=64)  # noqa: B019  (there is one Demand for the life of the process)
    def _campaigns(self, year: int) -> tuple[Campaign, ...]:
        rng = random.Random(f"{self._seed} {year} campaigns")
        found = []
        for _ in range(self._calendar.campaigns_per_year):
            first = date(year, rng.randint(1, 12), rng.randint(1, 28)).toordinal()
            segment: Segment = "individual" if rng.random() < 0.75 else "small_business"
            service = self._catalogue.wanted[segment].draw(rng)
            found.append(Campaign(first, first + rng.randint(6, 12), segment, service, rng.uniform(1.3, 1.8)))
        return tuple(found)


def kind_of(segment: Segment) -> ClientKind:
    """Return whether a segment's clients are private ones."""
    return "individual" if segment == "individual" else "business"
