"""The life of an order: application ─▶ feasibility (проверка ТВП) ─▶ contract ─▶ connected, or lost."""

import random

from crmbot_core.contracts.models import Segment, Status
from crmbot_generator.chance import Choice, durations
from crmbot_generator.lives.lead import NO_LINE, Circumstances
from crmbot_generator.lives.story import Story
from crmbot_generator.parameters import OrderParameters

_WITHOUT_LINE = 0.15  # of the usual time a check or a connection takes where no line is needed
_AT_ONCE = 0.4  # of mobile orders of private clients are connected in the same hour
# Why an order is lost, by the step that it had reached.
_REASONS: dict[Segment, dict[Status, dict[str, float]]] = {
    "individual": {
        "application": {"Клиент отказался": 60, "Клиент не выходит на связь": 40},
        "feasibility": {"Клиент отказался": 50, "Выбрал конкурента": 35, "Дебиторская задолженность": 15},
        "contract": {"Клиент отказался": 55, "Нет доступа в помещение": 45},
    },
    "small_business": {
        "application": {"Клиент отказался": 55, "Клиент не выходит на связь": 45},
        "feasibility": {"Клиент отказался": 40, "Выбрал конкурента": 35, "Дебиторская задолженность": 25},
        "contract": {"Клиент отказался": 45, "Нет согласования собственника здания": 55},
    },
    "enterprise": {
        "application": {"Клиент отказался": 100},
        "feasibility": {
            "Выбрал конкурента": 45,
            "Не согласован договор": 35,
            "Дебиторская задолженность": 20,
        },
        "contract": {"Проект отложен": 60, "Нет согласования собственника здания": 40},
    },
    "government": {
        "application": {"Финансирование отменено": 100},
        "feasibility": {"Закупку выиграл конкурент": 70, "Финансирование отменено": 30},
        "contract": {"Финансирование отменено": 100},
    },
}
# What an order is stuck for, and how many times longer the step takes: documents, equipment, building a line.
_STUCK: Choice[float] = Choice((6.0, 10.0, 18.0), (40, 35, 25))


class OrderLife:
    """Simulates the lives of orders."""

    def __init__(self, parameters: dict[Segment, OrderParameters]) -> None:
        self._parameters = parameters
        self._durations = {
            segment: (durations(of.feasibility), durations(of.contract), durations(of.connection))
            for segment, of in parameters.items()
        }
        self._reasons = {
            segment: {status: Choice.of(reasons) for status, reasons in steps.items()}
            for segment, steps in _REASONS.items()
        }

    def simulate(
        self, rng: random.Random, story: Story, at: int, order_id: str, circumstances: Circumstances
    ) -> None:
        """Add the rows of an order that is placed at a moment."""
        lead = story.lead
        parameters = self._parameters[lead.segment]
        lost = parameters.lost
        feasibility, contract, connection = self._durations[lead.segment]
        story.order_step(at, order_id, "application")
        pace = 1.0 if lead.service.needs_line else _WITHOUT_LINE
        if pace < 1 and lead.segment == "individual" and rng.random() < _AT_ONCE:
            pace = 0.01

        at = self._later(rng, story, at, feasibility.draw(rng) * pace)
        if not circumstances.has_line:
            story.order_step(at, order_id, "lost", NO_LINE)
            return
        if rng.random() < lost.application:
            story.order_step(at, order_id, "lost", self._reason(rng, story, "application"))
            return
        story.order_step(at, order_id, "feasibility")

        at = self._later(rng, story, at, contract.draw(rng) * (pace if pace < 0.1 else 1))
        if rng.random() < lost.feasibility:
            story.order_step(at, order_id, "lost", self._reason(rng, story, "feasibility"))
            return
        story.order_step(at, order_id, "contract")

        at = self._later(rng, story, at, connection.draw(rng) * pace)
        if rng.random() < lost.contract:
            story.order_step(at, order_id, "lost", self._reason(rng, story, "contract"))
            return
        story.order_step(at, order_id, "connected")

    def _later(self, rng: random.Random, story: Story, at: int, minutes: float) -> int:
        """Return when a step is done; some orders are stuck at it."""
        if rng.random() < self._parameters[story.lead.segment].stuck:
            minutes *= _STUCK.draw(rng)
        return story.lead.manager.hours.later(at, minutes)

    def _reason(self, rng: random.Random, story: Story, status: Status) -> str:
        return self._reasons[story.lead.segment][status].draw(rng)
