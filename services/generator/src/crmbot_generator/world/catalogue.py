"""What is sold: services, their tariffs by segment, and prices that rise every February."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, get_args

from crmbot_core.contracts.models import Segment
from crmbot_generator.chance import Choice
from crmbot_generator.data import read_data

SEGMENTS: tuple[Segment, ...] = get_args(Segment)
_PRICE_YEAR = 2026


@dataclass(frozen=True)
class Tariff:
    """A tariff: roubles of 2026 per unit, monthly and once; least, median and most units of an order."""

    name: str
    monthly: int
    one_off: int
    units: tuple[int, int, int]

    def draw_units(self, rng: random.Random) -> int:
        """Draw how many units are ordered: as many below the median as above it, which can be far above."""
        least, median, most = self.units
        if least == most:
            return least
        return min(most, max(least, round(median * rng.lognormvariate(0.0, 0.75))))


@dataclass(frozen=True)
class Service:
    """A service.

    Attributes:
        bit: stands for the service in a set of services.
        name: «ШПД».
        needs_line: there may be no technical possibility at an address.
        tariffs: by segment.
    """

    bit: int
    name: str
    needs_line: bool
    tariffs: dict[Segment, Choice[Tariff]] = field(default_factory=dict)


class Catalogue:
    """All services.

    Attributes:
        services: in the order of the catalogue.
        wanted: by segment, the services that leads ask for.
    """

    def __init__(self) -> None:
        rows = read_data("world/catalogue.yaml")
        self._indexation: float = rows["indexation"]
        self.services: list[Service] = []
        shares: dict[Segment, dict[int, float]] = {}
        for number, (name, row) in enumerate(rows["services"].items()):
            service = Service(1 << number, name, row["needs_line"])
            for segment in SEGMENTS:
                if segment not in row:
                    continue
                offer = row[segment]
                tariffs = list(_tariffs(offer["tariffs"]))
                service.tariffs[segment] = Choice([t for t, _ in tariffs], [share for _, share in tariffs])
                shares.setdefault(segment, {})[number] = offer["share"]
            self.services.append(service)
        self.wanted: dict[Segment, Choice[Service]] = {
            segment: Choice([self.services[n] for n in of], list(of.values()))
            for segment, of in shares.items()
        }
        self._prices: dict[tuple[int, int], int] = {}

    def price(self, roubles: int, day: date) -> int:
        """Return what a price of 2026 is on a day, rounded to ten roubles."""
        year = day.year if day.month >= 2 else day.year - 1
        key = (roubles, year)
        if key not in self._prices:
            price = roubles * (1 + self._indexation) ** (year - _PRICE_YEAR)
            self._prices[key] = max(10, round(price / 10) * 10) if roubles else 0
        return self._prices[key]


def _tariffs(rows: list[dict[str, Any]]) -> Iterator[tuple[Tariff, float]]:
    for row in rows:
        least, median, most = row["units"]
        yield Tariff(row["name"], row["monthly"], row["one_off"], (least, median, most)), row["share"]
