"""The macro-regional branches: which branches they have, where, and how large they are."""

from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

from crmbot_generator.data import read_data


@dataclass(frozen=True)
class Branch:
    """A branch: its clients and managers are in its city.

    Attributes:
        number: its place in the macro-regional branch.
        name: «Тульский филиал».
        city: where its clients and managers are.
        zone: the city's time zone, an IANA name.
        weight: its size relative to the others'.
    """

    number: int
    name: str
    city: str
    zone: str
    weight: float

    @cached_property
    def timezone(self) -> ZoneInfo:
        """The zone itself."""
        return ZoneInfo(self.zone)


def branches_of(mrf: str) -> list[Branch]:
    """Return the branches of a macro-regional branch, the largest first; an unknown one is like mrf1."""
    regions = read_data("world/regions.yaml")
    return [
        Branch(number, row["branch"], row["city"], row["zone"], row["weight"])
        for number, row in enumerate(regions.get(mrf, regions["mrf1"]))
    ]
