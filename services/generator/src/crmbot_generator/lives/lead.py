"""The life of a lead, from its first sign to an order, a refusal, or silence.

created ─▶ attempts to reach the client ─▶ contact ─▶ calls, messages, offers, meetings ─▶ decision
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from crmbot_core.contracts.models import ActionKind, Channel, Result, Segment
from crmbot_generator.chance import Choice, durations
from crmbot_generator.lives.story import Story
from crmbot_generator.parameters import LeadParameters, Odds

_MINUTE = 60_000
_SLOW_CONTACT = 24 * 60 * _MINUTE  # a first contact that came a day later or more
_BUSY = (0.5, 2.0)  # limits of what the manager's load does to durations
_FOLLOW_UP = 0.45  # chance that a message follows a call within minutes

_TOUCHES: Choice[ActionKind] = Choice(("call", "message", "offer"), (50, 28, 22))
_MEETINGS: Choice[ActionKind] = Choice(("meeting", "presentation"), (65, 35))
_MOODS: Choice[Result] = Choice(("interested", "thinking", "callback"), (45, 35, 20))
_AFTER_A_MEETING: Choice[Result] = Choice(("interested", "thinking"), (70, 30))
_CHANNELS: dict[ActionKind, Choice[Channel]] = {
    "call": Choice(("phone",), (1,)),
    "message": Choice(("messenger", "email"), (65, 35)),
    "offer": Choice(("email", "messenger"), (60, 40)),
    "meeting": Choice(("site_visit", "office"), (70, 30)),
    "presentation": Choice(("site_visit", "office"), (60, 40)),
}
# Why clients refuse; what cannot be is not in the list.
_REFUSALS: dict[Segment, dict[str, float]] = {
    "individual": {
        "Дорого": 32,
        "Выбрал конкурента": 24,
        "Передумал": 20,
        "Устраивает текущий оператор": 24,
    },
    "small_business": {
        "Дорого": 30,
        "Выбрал конкурента": 28,
        "Нет бюджета": 14,
        "Устраивает текущий оператор": 18,
        "Переезд отложен": 10,
    },
    "enterprise": {
        "Дорого": 22,
        "Выбрал конкурента": 34,
        "Нет бюджета": 20,
        "Проект отложен": 24,
    },
    "government": {
        "Нет бюджета": 38,
        "Закупка отменена": 20,
        "Закупку выиграл конкурент": 32,
        "Проект отложен": 10,
    },
}
_NO_LINE_BEFORE_ORDER = 0.35  # of those without a line learn it before they order
NO_LINE = "Нет технической возможности"
UNREACHABLE = "Не удалось связаться"


@dataclass(frozen=True)
class Circumstances:
    """What bears on a lead besides itself.

    Attributes:
        has_line: whether a line can be brought to the client.
    """

    has_line: bool


class _Draws:
    """A segment's parameters, prepared for drawing."""

    def __init__(self, parameters: LeadParameters) -> None:
        self.parameters = parameters
        self.first_contact = durations(parameters.first_contact)
        self.next_attempt = durations(parameters.next_attempt)
        self.between_touches = durations(parameters.between_touches)
        self.goes_on = parameters.touches / (1 + parameters.touches)  # chance of another touch


class LeadLife:
    """Simulates the lives of leads.

    Args:
        parameters: by segment.
        odds: factors of the odds of an order.
        push: factor of the odds at a moment.
    """

    def __init__(
        self, parameters: dict[Segment, LeadParameters], odds: Odds, push: Callable[[int], float]
    ) -> None:
        self._draws = {segment: _Draws(of) for segment, of in parameters.items()}
        self._odds = odds
        self._push = push
        self._refusals = {segment: Choice.of(reasons) for segment, reasons in _REFUSALS.items()}

    def simulate(self, rng: random.Random, story: Story, at: int, circumstances: Circumstances) -> int | None:
        """Add the rows of a lead that comes at a moment; return when it orders, None if it is lost."""
        lead = story.lead
        draws = self._draws[lead.segment]
        parameters = draws.parameters
        hours = lead.manager.hours
        busy = min(_BUSY[1], max(_BUSY[0], lead.manager.busy))
        story.action(at, "lead_created", lead.channel, "new")

        # Attempts to reach the client.
        created = at
        is_there = lead.channel in ("phone", "office")  # the client is on the line, or in the office
        first = rng.uniform(1, 6) if is_there else draws.first_contact.draw(rng) * busy
        at = hours.later(at, first)
        attempts = 1
        if not is_there:
            for attempts, answer in enumerate(parameters.answers, 1):
                if rng.random() < answer:
                    break
                story.action(at, "call", "phone", "no_answer")
                if attempts < len(parameters.answers):
                    at = hours.later(at, draws.next_attempt.draw(rng) * busy)
            else:
                self._give_up(rng, story, hours.later(at, draws.next_attempt.draw(rng)), parameters)
                return None

        # The first talk, which may be enough.
        odds = parameters.odds * lead.manager.skill * self._odds.channels[lead.channel]
        odds *= self._odds.attempt ** (attempts - 1)
        odds *= self._odds.known_client if lead.is_known else 1.0
        odds *= self._odds.slow_contact if at - created > _SLOW_CONTACT else 1.0
        talk: ActionKind = "meeting" if lead.channel == "office" else "call"
        talk_channel: Channel = "office" if lead.channel == "office" else "phone"
        decides_at_once = rng.random() < parameters.decides_at_once
        if not decides_at_once:
            story.action(at, talk, talk_channel, _MOODS.draw(rng))
            if rng.random() < _FOLLOW_UP:
                at += int(rng.uniform(0.5, 4) * _MINUTE)
                story.action(at, "message", _CHANNELS["message"].draw(rng), "interested")
            at, has_met = self._touches(rng, story, at, draws, busy)
            odds *= self._odds.meeting if has_met else 1.0
            at = hours.later(at, draws.between_touches.draw(rng))

        # The decision.
        if not circumstances.has_line and rng.random() < _NO_LINE_BEFORE_ORDER:
            story.action(at, talk, talk_channel, "refused", NO_LINE)
            return None
        odds *= self._push(at)
        if rng.random() < odds / (1 + odds):
            channel: Channel = "office" if lead.channel == "office" else _CHANNELS["offer"].draw(rng)
            story.action(at, "offer", channel, "order_placed")
            return at
        if rng.random() >= parameters.silent:
            story.action(at, talk, talk_channel, "refused", self._refusals[lead.segment].draw(rng))
        return None

    def _touches(
        self, rng: random.Random, story: Story, at: int, draws: "_Draws", busy: float
    ) -> tuple[int, bool]:
        """Add what happens between the first talk and the decision; return when, and whether they met."""
        hours = story.lead.manager.hours
        has_met = False
        while rng.random() < draws.goes_on:
            at = hours.later(at, draws.between_touches.draw(rng) * busy)
            if rng.random() < draws.parameters.meetings:
                has_met = True
                action, result = _MEETINGS.draw(rng), _AFTER_A_MEETING.draw(rng)
            else:
                action, result = _TOUCHES.draw(rng), _MOODS.draw(rng)
                if action == "call" and rng.random() < 0.25:
                    result = "no_answer"
            story.action(at, action, _CHANNELS[action].draw(rng), result)
            if action == "call" and result == "interested" and rng.random() < _FOLLOW_UP:
                at += int(rng.uniform(0.5, 4) * _MINUTE)
                story.action(at, "message", _CHANNELS["message"].draw(rng), "interested")
        return at, has_met

    def _give_up(self, rng: random.Random, story: Story, at: int, parameters: LeadParameters) -> None:
        if rng.random() >= parameters.silent:
            story.action(at, "call", "phone", "refused", UNREACHABLE)
