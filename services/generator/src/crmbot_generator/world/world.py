"""The world of one macro-regional branch: its clients, its managers, and the leads of each day.

Everything follows from the seed, the parameters and the first day. A lead's life is simulated as a whole on
the day it comes: most of its rows are in the future then.
"""

import random
from collections.abc import Iterable
from datetime import date

from crmbot_core.contracts.models import Segment
from crmbot_generator.calendar.days import is_working, midnight, utc_day, working_days_left
from crmbot_generator.calendar.demand import Campaign, Demand
from crmbot_generator.chance import Choice, mixed, poisson
from crmbot_generator.faults import Faults
from crmbot_generator.lives.lead import Circumstances, LeadLife
from crmbot_generator.lives.order import OrderLife
from crmbot_generator.lives.story import Lead, Row, Story
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.catalogue import SEGMENTS, Catalogue, Service
from crmbot_generator.world.clients import Clients
from crmbot_generator.world.managers import Managers
from crmbot_generator.world.names import Names
from crmbot_generator.world.regions import Branch, branches_of

# How long it takes until leads of the first day are over, in days.
BURN_IN: dict[Segment, int] = {
    "individual": 21,
    "small_business": 60,
    "enterprise": 150,
    "government": 150,
}
# Of leads, orders and clients: those of a world, and those that a load test adds.
OWN_NUMBERS, LOAD_NUMBERS = range(1, 50_000_000), range(50_000_000, 100_000_000)
_COMES_BACK = 0.4  # of known clients who left a service ask for it again
# Of these a private client has one.
_ONE_OF_A_KIND = ("ШПД", "ИКТВ", "Конвергентный пакет", "Умный дом")
_OTHER_TRIES = 4
_LATE = 17 * 3_600_000 + 1_800_000  # milliseconds after midnight; a lead waits for tomorrow


class World:
    """A world.

    Attributes:
        clients: the client master.
        managers: the organisation.
        next_lead, next_order: the next numbers.
    """

    def __init__(
        self,
        mrf: str,
        parameters: Parameters,
        seed: int,
        first_day: int,
        leads_per_day: float,
        numbers: range = OWN_NUMBERS,
    ) -> None:
        self._mrf = mrf
        self._numbers = numbers
        self._parameters = parameters
        self._seed = mixed(seed, sum(mrf.encode()))
        self._catalogue = Catalogue()
        self._names = Names(self._seed)
        self.managers = Managers(
            mrf, parameters, branches_of(mrf), self._names, self._seed, first_day, numbers[0]
        )
        branches = self.managers.branches
        self.clients = Clients(parameters, branches, self._catalogue, self._seed)
        self._demand = Demand(parameters, self._catalogue, self._seed, first_day, leads_per_day)
        self._lead_life = LeadLife(parameters.lead, parameters.odds, self._push)
        self._order_life = OrderLife(parameters.order)
        self._channels = {segment: Choice.of(parameters.lead[segment].channels) for segment in SEGMENTS}
        self._faults = Faults(parameters.faults, self._seed)
        self._campaigns: dict[Segment, Campaign | None] = {}
        self._pushes: dict[int, float] = {}
        self.next_lead = self.next_order = numbers[0]

    def set_demand(self, leads_per_day: float) -> None:
        """Set the leads of an average day of the first year."""
        self._demand.leads_per_day = leads_per_day

    def expected_leads(self, day: int, segment: Segment) -> float:
        """Return the mean number of a segment's leads on a local day."""
        return self._demand.mean(day, segment)

    def rows_of(
        self, day: int, segments: Iterable[Segment] = SEGMENTS, scale: float = 1.0, since: int = 0
    ) -> list[Row]:
        """Return all rows of the leads that come on a local day; call it for one day after another.

        Args:
            day: by number.
            segments: whose leads come.
            scale: factor of the number of leads.
            since: rows before this moment, in milliseconds since 1970, are left out.
        """
        rng = random.Random(f"{self._seed} {day}")
        self.managers.start_day(day)
        for _ in range(poisson(rng, len(self.clients) * self._parameters.churn_per_year / 365)):
            self.clients.leave(rng)
        rows: list[Row] = []
        for segment in segments:
            self._campaigns[segment] = self._demand.campaign(day, segment)
            for _ in range(self._demand.draw(rng, day, segment, scale)):
                rows += self.lead(rng, day, segment, since)
        return self._faults.apply(day, rows)

    def lead(self, rng: random.Random, day: int, segment: Segment, since: int = 0) -> list[Row]:
        """Return the rows of one more lead of a day, from a moment on."""
        branch = self.clients.branch_of_a_lead(rng)
        begins = midnight(day, branch.timezone)
        at = begins + self._demand.draw_time(rng, segment)
        client, service = self._client_and_service(rng, segment, branch)
        manager = self.managers.assign(rng, segment, branch, is_late=at - begins > _LATE)
        tariff = service.tariffs[segment].draw(rng)
        units = tariff.draw_units(rng)
        on = date.fromordinal(day)
        lead = Lead(
            lead_id=f"{self._mrf}-L{self.next_lead:08d}",
            client=client,
            client_id=f"{self._mrf}-C{self._numbers[client]:08d}",
            client_name=self._names.client(self._numbers[client], segment, branch.city),
            segment=segment,
            is_known=self.clients.has_any(client),
            manager=manager,
            channel=self._channels[segment].draw(rng),
            service=service,
            tariff=tariff,
            units=units,
            monthly=self._catalogue.price(tariff.monthly, on) * units,
            one_off=self._catalogue.price(tariff.one_off, on) * units,
        )
        self.next_lead += 1
        story = Story(lead, since)
        circumstances = Circumstances(self._has_line(rng, lead, branch))
        ordered_at = self._lead_life.simulate(rng, story, at, circumstances)
        if ordered_at is not None:
            order_id = f"{self._mrf}-O{self.next_order:08d}"
            self.next_order += 1
            self._order_life.simulate(rng, story, ordered_at, order_id, circumstances)
            if story.connected_at is not None:
                # From now on: nobody orders again what is on its way.
                self.clients.connect(client, service)
        return story.rows

    def _client_and_service(
        self, rng: random.Random, segment: Segment, branch: Branch
    ) -> tuple[int, Service]:
        wanted = self._catalogue.wanted[segment]
        campaign = self._campaigns.get(segment)
        if campaign and rng.random() < 1 - 1 / campaign.factor:
            service = campaign.service
        else:
            service = wanted.draw(rng)
        client = None
        if rng.random() < self._parameters.segments[segment].known:
            client = self.clients.known(rng, segment, branch)
        if client is None:
            return self.clients.add(segment, branch), service
        left = self.clients.left(client)
        if left and rng.random() < _COMES_BACK:
            return client, left
        for _ in range(_OTHER_TRIES):
            if not (
                segment == "individual"
                and service.name in _ONE_OF_A_KIND
                and self.clients.has(client, service)
            ):
                return client, service
            service = wanted.draw(rng)
        return self.clients.add(segment, branch), service

    def _has_line(self, rng: random.Random, lead: Lead, branch: Branch) -> bool:
        """Return whether a line can be brought, which depends on city and service; known clients have one."""
        if not lead.service.needs_line or lead.is_known:
            return True
        code = mixed(self._seed, branch.number * 64 + lead.service.bit)
        place = 0.4 + 1.2 * (code % 1000) / 1000
        return rng.random() >= self._parameters.no_line[lead.segment] * place

    def _push(self, at: int) -> float:
        """Return how much more than usual is closed at a moment: at the end of a month, and of a quarter."""
        day = utc_day(at)
        if day not in self._pushes:
            calendar = self._parameters.calendar
            ends_quarter = date.fromordinal(day).month % 3 == 0
            is_end = is_working(day) and working_days_left(day) <= 3
            push = calendar.quarter_end if ends_quarter else calendar.month_end
            self._pushes[day] = push if is_end else 1.0
        return self._pushes[day]
