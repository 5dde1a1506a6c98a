"""Managers' work as a simulation of leads and orders, event by event in the order of time.

A lead is created, touched several times, and refused or turned into an order; an order goes from application
through feasibility and contract to connection, or is lost on the way. Work is done in working hours.
"""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from crmbot_generator.vocabulary import (
    LOST_REASONS,
    LOST_WEIGHTS,
    REFUSAL_REASONS,
    REFUSAL_WEIGHTS,
    SEGMENT_WEIGHTS,
    SEGMENTS,
    TARIFFS,
    UNITS,
    Tariff,
    Vocabulary,
)

# What the parameters below amount to, measured: rows that one lead brings in the end, both streams together,
# and the days by which they come later than it.
ROWS_PER_LEAD = 5.9
ROWS_DELAY = timedelta(days=11)

_TOUCHES = ("call", "message", "meeting", "presentation", "offer")
_TOUCH_WEIGHTS = (45, 30, 8, 5, 12)
_CHANNELS = {
    "lead_created": ("messenger", "phone", "office", "email"),
    "call": ("phone",),
    "message": ("messenger", "email"),
    "meeting": ("office", "site_visit"),
    "presentation": ("office", "site_visit"),
    "offer": ("email", "messenger"),
}
_MOODS = ("interested", "callback", "no_answer", "thinking")
_MOOD_WEIGHTS = (30, 25, 25, 20)
_END_OF_LEAD = 0.28  # chance that a touch is the last one
_WON = 0.36  # chance that the last touch brings an order, times the manager's skill
_NEXT_STATUS = {"application": "feasibility", "feasibility": "contract", "contract": "connected"}
_LOST = {"application": 0.12, "feasibility": 0.10, "contract": 0.04}
_STUCK = 0.02  # chance that an order waits for months at a step
_STEP_DAYS = {"application": 2.0, "feasibility": 3.5, "contract": 6.0}
_TOUCH_DAYS = 2.5
_FIRST_HOUR, _LAST_HOUR = 9, 19


@dataclass
class Lead:
    """What the rows of a lead and its order share; `order_id` and `status` are set once there is an order.

    `won` is the chance that the last touch brings one.
    """

    shared: dict[str, Any]
    client_name: str
    tariff: Tariff
    units: int
    won: float = _WON
    is_new: bool = True
    order_id: str | None = None
    status: str | None = None


@dataclass(frozen=True)
class Event:
    """A row to be: the stream, the time and the columns that depend on neither file nor clock."""

    stream: Literal["actions", "nature"]
    at: datetime
    values: dict[str, Any]


@dataclass(frozen=True)
class Continuation:
    """Where a bot's files stand: the next numbers, and the leads and orders that are not finished."""

    next_lead: int = 1
    next_order: int = 1
    unfinished: list[Lead] = field(default_factory=list)


class Simulation:
    """An endless stream of events of one MRF from `start` on, the same for the same arguments."""

    def __init__(
        self,
        mrf: str,
        vocabulary: Vocabulary,
        rng: random.Random,
        start: datetime,
        lead_interval: timedelta,
        continuation: Continuation,
    ) -> None:
        self._mrf = mrf
        self._vocabulary = vocabulary
        self._rng = rng
        self._lead_interval = lead_interval
        self._lead_numbers = itertools.count(continuation.next_lead)
        self._order_numbers = itertools.count(continuation.next_order)
        self._ties = itertools.count()
        self._agenda: list[tuple[datetime, int, Lead | None]] = []
        self._plan(start, None)
        for lead in continuation.unfinished:
            self._plan(start + timedelta(days=rng.expovariate(1 / _TOUCH_DAYS)), lead)

    def events(self) -> Iterator[Event]:
        """Yield events in the order of their time."""
        while True:
            at, _, lead = heapq.heappop(self._agenda)
            if lead is None:
                self._plan(at + self._lead_interval, None)
                self._plan(self._in_working_hours(at), self._new_lead())
            elif lead.is_new:
                lead.is_new = False
                self._plan(self._later(at, _TOUCH_DAYS), lead)
                yield self._action(at, lead, "lead_created", "new")
            elif lead.order_id is None:
                yield from self._touch(at, lead)
            else:
                yield from self._step(at, lead)

    def _plan(self, at: datetime, lead: Lead | None) -> None:
        heapq.heappush(self._agenda, (at, next(self._ties), lead))

    def _later(self, at: datetime, days: float) -> datetime:
        return self._in_working_hours(at + timedelta(days=self._rng.expovariate(1 / days)))

    def _in_working_hours(self, at: datetime) -> datetime:
        """Move a time out of nights and most of the weekend, more work before noon than in the evening."""
        local = at.astimezone(self._vocabulary.zone)
        if local.weekday() >= 5 and self._rng.random() < 0.85:
            local += timedelta(days=7 - local.weekday())
        if not _FIRST_HOUR <= local.hour < _LAST_HOUR:
            hours = self._rng.triangular(_FIRST_HOUR, _LAST_HOUR, 11)
            day = local.date() if local.hour < _FIRST_HOUR else local.date() + timedelta(days=1)
            local = datetime(day.year, day.month, day.day, tzinfo=local.tzinfo) + timedelta(hours=hours)
        return local

    def _new_lead(self) -> Lead:
        rng = self._rng
        number = next(self._lead_numbers)
        (segment,) = rng.choices(SEGMENTS, SEGMENT_WEIGHTS)
        (manager,) = rng.choices(self._vocabulary.managers, self._vocabulary.manager_weights)
        return Lead(
            shared={
                "lead_id": f"{self._mrf}-L{number:08d}",
                "client_id": f"{self._mrf}-C{rng.randint(1, number + 20):08d}",
                "segment": segment,
                "manager_id": manager.manager_id,
                "manager_name": manager.manager_name,
                "branch": manager.branch,
                "city": manager.city,
            },
            client_name=self._vocabulary.client_name(rng, segment),
            tariff=rng.choice(TARIFFS[segment]),
            units=rng.randint(*UNITS[segment]),
            won=_WON * manager.skill,
        )

    def _touch(self, at: datetime, lead: Lead) -> Iterator[Event]:
        rng = self._rng
        (action,) = rng.choices(_TOUCHES, _TOUCH_WEIGHTS)
        if rng.random() >= _END_OF_LEAD:
            self._plan(self._later(at, _TOUCH_DAYS), lead)
            yield self._action(at, lead, action, *rng.choices(_MOODS, _MOOD_WEIGHTS))
        elif rng.random() >= lead.won:
            yield self._action(at, lead, action, "refused")
        else:
            yield self._action(at, lead, "offer", "order_placed")
            lead.order_id = f"{self._mrf}-O{next(self._order_numbers):08d}"
            lead.status = "application"
            self._plan(self._later(at, _STEP_DAYS["application"]), lead)
            yield self._order_step(at, lead)

    def _step(self, at: datetime, lead: Lead) -> Iterator[Event]:
        before = lead.status or "application"
        is_lost = self._rng.random() < _LOST[before]
        lead.status = "lost" if is_lost else _NEXT_STATUS[before]
        if lead.status in _STEP_DAYS:
            slowness = 30 if self._rng.random() < _STUCK else 1
            self._plan(self._later(at, _STEP_DAYS[lead.status] * slowness), lead)
        yield self._order_step(at, lead)

    def _action(self, at: datetime, lead: Lead, action: str, result: str) -> Event:
        is_refused = result == "refused"
        (reason,) = self._rng.choices(REFUSAL_REASONS, REFUSAL_WEIGHTS) if is_refused else (None,)
        return Event(
            "actions",
            at,
            lead.shared
            | {
                "client_name": lead.client_name,
                "action": action,
                "channel": self._rng.choice(_CHANNELS[action]),
                "product": lead.tariff.service,
                "result": result,
                "refusal_reason": reason,
                "potential_revenue": f"{lead.tariff.monthly * lead.units}.00",
            },
        )

    def _order_step(self, at: datetime, lead: Lead) -> Event:
        is_lost = lead.status == "lost"
        (reason,) = self._rng.choices(LOST_REASONS, LOST_WEIGHTS) if is_lost else (None,)
        return Event(
            "nature",
            at,
            lead.shared
            | {
                "order_id": lead.order_id,
                "service": lead.tariff.service,
                "tariff": lead.tariff.tariff,
                "units": lead.units,
                "status": lead.status,
                "lost_reason": reason,
                "one_off_revenue": f"{lead.tariff.one_off * lead.units}.00",
                "monthly_revenue": f"{lead.tariff.monthly * lead.units}.00",
            },
        )
