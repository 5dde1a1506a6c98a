"""The managers: who is employed when and for which clients, in which hours, and how well they work."""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

from crmbot_core.contracts.models import Segment
from crmbot_generator.calendar.days import days_of_year, is_working
from crmbot_generator.calendar.hours import Hours, working_days
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS
from crmbot_generator.world.names import Names
from crmbot_generator.world.regions import Branch

_YEAR = 365.25
_LAST_LEADS = 30  # days before somebody leaves in which no new leads are given
_FORGETTING = 0.9  # of yesterday's load, today


@dataclass(eq=False)
class Manager:
    """A manager.

    Attributes:
        manager_id: mrf1-M0041.
        name: full name.
        branch: where.
        segment: the clients of the manager.
        hours: when at work.
        hired, leaves: the first day, and the day after the last one.
        skill: factor of the odds of an order.
        weight: share of the leads relative to others.
        load: leads of the last days; earlier ones weigh less.
        busy: the load of this morning relative to the average manager's of the same weight.
    """

    manager_id: str
    name: str
    branch: Branch
    segment: Segment
    hours: Hours
    hired: int
    leaves: int
    skill: float
    weight: float
    load: float = 0.0
    busy: float = 1.0

    def takes_leads_on(self, day: int) -> bool:
        """Return whether new leads are given to the manager on a day."""
        return self.hired <= day < self.leaves - _LAST_LEADS and self.hours.works_on(day)


class Managers:
    """The organisation of a macro-regional branch: posts, each with one manager after another."""

    def __init__(
        self,
        mrf: str,
        parameters: Parameters,
        branches: list[Branch],
        names: Names,
        seed: int,
        first_day: int,
        first_number: int = 1,
    ) -> None:
        self._first_number = first_number
        self._mrf = mrf
        self._parameters = parameters.managers
        self._skill = parameters.odds.skill
        self._names = names
        self._seed = seed
        self._first_day = first_day
        self._posts = self._staffed(branches, parameters.size.managers)
        self._people: list[list[Manager]] = [[] for _ in self._posts]
        self._on_duty: dict[tuple[Segment, int, bool], tuple[list[Manager], list[float]]] = {}

    @property
    def branches(self) -> list[Branch]:
        """The branches that have a manager."""
        return sorted({branch for branch, _ in self._posts}, key=lambda branch: branch.number)

    @property
    def staff(self) -> list[Manager]:
        """Who holds the posts now."""
        return [people[-1] for people in self._people]

    @property
    def loads(self) -> list[float]:
        """The load of each post, to be kept."""
        return [people[-1].load if people else 0.0 for people in self._people]

    def restore(self, day: int, loads: Sequence[float]) -> None:
        """Take over the loads of a day's evening."""
        self.start_day(day)
        for people, load in zip(self._people, loads, strict=True):
            people[-1].load = load

    def start_day(self, day: int) -> None:
        """Find out who is at work; leads of earlier days weigh less."""
        self._on_duty.clear()
        for post, people in enumerate(self._people):
            while not people or people[-1].leaves - _LAST_LEADS <= day:
                people.append(self._hired(post, people))
            manager = people[-1]
            manager.load *= _FORGETTING
            for is_late in (False, True):
                if manager.takes_leads_on(day + is_late):
                    key = (manager.segment, manager.branch.number, is_late)
                    managers, ends = self._on_duty.setdefault(key, ([], []))
                    managers.append(manager)
                    ends.append(manager.weight)
        staff = self.staff
        usual = sum(manager.load for manager in staff) / sum(manager.weight for manager in staff)
        for manager in staff:
            manager.busy = manager.load / manager.weight / usual if usual else 1.0
        for key, (managers, weights) in self._on_duty.items():
            self._on_duty[key] = (managers, list(accumulate(weights)))

    def assign(self, rng: random.Random, segment: Segment, branch: Branch, *, is_late: bool) -> Manager:
        """Give a lead to somebody of the branch, if possible to one for this segment who is at work.

        A late lead goes to somebody who is at work tomorrow.
        """
        on_duty = self._on_duty.get((segment, branch.number, is_late))
        if on_duty is not None:
            managers, ends = on_duty
            manager = managers[bisect(ends, rng.random() * ends[-1], 0, len(ends) - 1)]
        else:
            manager = self._substitute(rng, segment, branch)
        manager.load += 1.0
        return manager

    def _substitute(self, rng: random.Random, segment: Segment, branch: Branch) -> Manager:
        """Return who gets a lead when nobody is at work for it: it waits on his desk."""
        of_branch = [people[-1] for people in self._people if people[-1].branch is branch]
        for_segment = [manager for manager in of_branch if manager.segment == segment]
        return rng.choice(for_segment or of_branch)

    def _staffed(self, branches: list[Branch], posts: int) -> list[tuple[Branch, Segment]]:
        """Spread posts over branches by weight, and in each over the segments."""
        total = sum(branch.weight for branch in branches)
        ends = list(accumulate(branch.weight / total * posts for branch in branches))
        begins = [0.0, *ends[:-1]]
        sizes = [round(end) - round(begin) for begin, end in zip(begins, ends, strict=True)]
        shares = [self._parameters.segments[segment] for segment in SEGMENTS]
        staffed = []
        for branch, size in zip(branches, sizes, strict=True):
            borders = list(accumulate(share / sum(shares) * size for share in shares))
            for post in range(size):
                segment = SEGMENTS[min(bisect(borders, post + 0.5), len(SEGMENTS) - 1)]
                staffed.append((branch, segment))
        return staffed

    def _hired(self, post: int, before: list[Manager]) -> Manager:
        """Return the next manager of a post."""
        branch, segment = self._posts[post]
        number = post + len(before) * len(self._posts)
        rng = random.Random(f"{self._seed} manager {number}")
        tenure = max(120, round(rng.expovariate(1 / (self._parameters.tenure_years * _YEAR))))
        # The first ones have been there for some time.
        hired = before[-1].leaves - _LAST_LEADS if before else self._first_day - int(rng.random() * tenure)
        return Manager(
            manager_id=f"{self._mrf}-M{self._first_number + number:04d}",
            name=self._names.person(-self._first_number - number),
            branch=branch,
            segment=segment,
            hours=self._hours(rng, number, branch, segment),
            hired=hired,
            leaves=hired + tenure + _LAST_LEADS,
            skill=rng.lognormvariate(0.0, self._skill),
            weight=rng.paretovariate(self._parameters.pareto),
        )

    def _hours(self, rng: random.Random, number: int, branch: Branch, segment: Segment) -> Hours:
        opens_at = 60 * (rng.choice((9, 9, 10, 11)) if segment == "individual" else 9)
        days_off = rng.randrange(7)

        def days_of(year: int) -> list[int]:
            days = days_of_year(year)
            absent = self._absences(number, year, days)
            if segment != "individual":
                return [day for day in working_days(days) if day not in absent]
            # Somebody is there for private clients on every day but the first two of the year.
            return [
                day
                for day in days[2:]
                if (day + days_off) % 7 > 1 and day not in absent and (is_working(day) or (day + number) % 2)
            ]

        return Hours(
            branch.timezone,
            opens_at,
            rng.choice((180, 210, 240)),
            days_of,
            date.fromordinal(self._first_day).year - 1,
        )

    def _absences(self, number: int, year: int, days: range) -> set[int]:
        """Return the days of leave, in two parts, most of them in summer, and of sickness."""
        rng = random.Random(f"{self._seed} manager {number} {year}")
        absent: set[int] = set()
        part = self._parameters.leave_days // 2
        for _ in range(2):
            first = int(rng.triangular(10, 350, 210))
            absent.update(days[first : first + part])
        for _ in range(round(rng.expovariate(1.0) * self._parameters.sick_episodes_per_year)):
            first = rng.randrange(len(days))
            absent.update(days[first : first + rng.randint(3, 8)])
        return absent
