"""The figures that docs/world.md has targets for, measured on a bot."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from crmbot_generator.calendar.days import is_working
from services.generator.tests.measures import NO_LINE, Measures, top_share

_B2C, _SMB, _ENT, _GOV = "individual", "small_business", "enterprise", "government"
_FIRST_CLIENTS = 20_000  # of the typical profile
_MATURE = {_B2C: 30, _SMB: 45, _ENT: 60, _GOV: 60}  # days that leads had to end

Figure = Callable[[Measures], float]


def _share(segment: str, step: str, of: str | None = None) -> Figure:
    def measure(bot: Measures) -> float:
        leads = bot.mature(segment, _MATURE[segment])
        base = leads if of is None else leads[leads[of].notna()]
        return float(base[step].notna().mean())

    return measure


def _hours(segment: str, since: str, until: str, quantile: float) -> Figure:
    return lambda bot: bot.hours(bot.mature(segment, _MATURE[segment]), since, until, quantile)


def _days(segment: str, since: str, until: str, quantile: float) -> Figure:
    return lambda bot: _hours(segment, since, until, quantile)(bot) / 24


def _no_line(segment: str) -> Figure:
    def measure(bot: Measures) -> float:
        ordered = bot.leads[(bot.leads.segment == segment) & bot.leads.ordered.notna()]
        return float((ordered.lost_reason == NO_LINE).mean())

    return measure


def _of_segments(segment: str, *, revenue: bool) -> Figure:
    def measure(bot: Measures) -> float:
        connected = bot.connected
        mine = connected.segment == segment
        return float(connected.revenue[mine].sum() / connected.revenue.sum() if revenue else mine.mean())

    return measure


def _service(segment: str, service: str) -> Figure:
    def measure(bot: Measures) -> float:
        of_segment = bot.connected[bot.connected.segment == segment]
        return float((of_segment.service == service).mean())

    return measure


def _meeting_gain(segment: str) -> Figure:
    def measure(bot: Measures) -> float:
        leads = bot.mature(segment, _MATURE[segment])
        talked = leads[leads.contacted.notna()]
        won = talked.ordered.notna()
        return float(won[talked.met.notna()].mean() / won[talked.met.isna()].mean())

    return measure


def _known(segment: str) -> Figure:
    """Leads of clients whom the master had from the beginning, or who had a lead in the file before."""

    def measure(bot: Measures) -> float:
        leads = bot.leads[bot.leads.segment == segment]
        was_there = leads.client_id.str.split("-C").str[1].astype(int) <= _FIRST_CLIENTS
        return float((was_there | leads.client_id.duplicated()).mean())

    return measure


def _managers(column: str) -> Figure:
    def measure(bot: Measures) -> float:
        of_managers = bot.connected[bot.connected.segment == _B2C].groupby("manager_id").revenue
        return top_share(of_managers.count() if column == "orders" else of_managers.sum(), 0.2)

    return measure


def _weekday(segment: str, weekdays: tuple[int, ...]) -> Figure:
    def measure(bot: Measures) -> float:
        leads = bot.daily_leads[segment]
        return float(leads[bot.days.day_of_week.isin(weekdays)].sum() / leads.sum())

    return measure


def _hour(hours: tuple[int, int]) -> Figure:
    return lambda bot: float(bot.actions["at"].dt.hour.between(*hours).mean())


def _holiday(bot: Measures) -> float:
    leads, works = bot.daily_leads[_B2C], _workdays(bot)
    is_weekday = bot.days.day_of_week < 5
    return float(leads[is_weekday & ~works].mean() / leads[is_weekday & works].mean())


def _dispersion(bot: Measures) -> float:
    """Variance over mean of the leads of working Tuesdays to Thursdays."""
    leads = bot.daily_leads[_B2C][bot.days.day_of_week.isin((1, 2, 3)) & _workdays(bot)]
    return float(leads.var() / leads.mean())


def _workdays(bot: Measures) -> npt.NDArray[np.bool_]:
    return np.array([is_working(day.toordinal()) for day in bot.days])


FIGURES: dict[str, Figure] = {
    "contacted, B2C": _share(_B2C, "contacted"),
    "contacted, small business": _share(_SMB, "contacted"),
    "lead to order, B2C": _share(_B2C, "ordered"),
    "lead to order, small business": _share(_SMB, "ordered"),
    "orders with a meeting to those without, small business": _meeting_gain(_SMB),
    "order to connection, B2C": _share(_B2C, "connected", "ordered"),
    "order to connection, small business": _share(_SMB, "connected", "ordered"),
    "lost for want of a line, B2C": _no_line(_B2C),
    "lead to first touch, B2C, median, hours": _hours(_B2C, "at", "touched", 0.5),
    "lead to first touch, B2C, 90th percentile, hours": _hours(_B2C, "at", "touched", 0.9),
    "lead to first touch, small business, median, hours": _hours(_SMB, "at", "touched", 0.5),
    "lead to order, B2C, median, hours": _hours(_B2C, "at", "ordered", 0.5),
    "lead to order, small business, median, days": _days(_SMB, "at", "ordered", 0.5),
    "lead to connection, B2C, median, days": _days(_B2C, "at", "connected", 0.5),
    "lead to connection, B2C, 90th percentile, days": _days(_B2C, "at", "connected", 0.9),
    "check to contract, state, median, days": lambda bot: (
        bot.hours(bot.leads[bot.leads.segment == _GOV], "feasibility", "contract", 0.5) / 24
    ),
    "orders of B2C": _of_segments(_B2C, revenue=False),
    "revenue of B2C": _of_segments(_B2C, revenue=True),
    "revenue of small business": _of_segments(_SMB, revenue=True),
    "revenue of the top tenth of orders": lambda bot: top_share(bot.connected.revenue, 0.1),
    "revenue of the top tenth of orders, B2C": lambda bot: top_share(
        bot.connected.revenue[bot.connected.segment == _B2C], 0.1
    ),
    "orders of the top fifth of managers, B2C": _managers("orders"),
    "leads of known clients, B2C": _known(_B2C),
    "leads of known clients, small business": _known(_SMB),
    "home internet and packages in the orders of B2C": lambda bot: (
        _service(_B2C, "ШПД")(bot) + _service(_B2C, "Конвергентный пакет")(bot)
    ),
    "ВАТС in the orders of small business": _service(_SMB, "ВАТС"),
    "leads at weekends, B2C": _weekday(_B2C, (5, 6)),
    "leads on Mondays, small business": _weekday(_SMB, (0,)),
    "actions from 10 to 12": _hour((10, 11)),
    "actions from 20 to 8": lambda bot: 1 - _hour((8, 19))(bot),
    "leads on a holiday to those on a weekday, B2C": _holiday,
    "variance of daily leads to their mean, B2C": _dispersion,
}
