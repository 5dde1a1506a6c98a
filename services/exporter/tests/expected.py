"""Expected contents of the marts, computed from the rows in plain Python, without SQL.

Every mart is a list of records. The definitions follow the comments in the marts' files, not their queries.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Record = dict[str, Any]
Marts = dict[str, list[Record]]

_STAGES = ("application", "feasibility", "contract", "connected")


class Calendar:
    """The days of a report whose last day is `day`."""

    def __init__(self, day: date) -> None:
        self.day = day
        self.month_start = day.replace(day=1)
        following = (self.month_start + timedelta(days=31)).replace(day=1)
        self.month_days = (following - self.month_start).days
        last_of_previous = self.month_start - timedelta(days=1)
        self.previous_start = last_of_previous.replace(day=1)
        is_whole = day.day == self.month_days
        days = last_of_previous.day if is_whole else min(day.day, last_of_previous.day)
        self.previous_end = self.previous_start.replace(day=days)
        self.trend_start = day - timedelta(days=day.weekday() + 84)

    def is_current(self, day: date) -> bool:
        return self.month_start <= day <= self.day

    def is_previous(self, day: date) -> bool:
        return self.previous_start <= day <= self.previous_end

    def days(self, first: date) -> list[date]:
        return [first + timedelta(days=number) for number in range((self.day - first).days + 1)]


def quotient(above: float, below: float) -> float | None:
    return above / below if below else None


def change(now: float, before: float) -> float | None:
    return now / before - 1 if before else None


def grouped(rows: Iterable[Record], *columns: str) -> dict[tuple[Any, ...], list[Record]]:
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[column] for column in columns)].append(row)
    return groups


def ranked(rows: list[Record], *columns: str) -> list[Record]:
    """Add each row's place: 1 plus the number of better rows."""
    values = [tuple(row[column] for column in columns) for row in rows]
    for row, own in zip(rows, values, strict=True):
        row["place"] = 1 + sum(other > own for other in values)
    return rows


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _days(passed: timedelta) -> float:
    return passed / timedelta(days=1)


# Actions


def _activity(rows: Sequence[Record]) -> Record:
    orders = [row for row in rows if row["result"] == "order_placed"]
    leads = sum(row["action"] == "lead_created" for row in rows)
    return {
        "actions": len(rows),
        "managers": len({row["manager_id"] for row in rows}),
        "leads": leads,
        "orders": len(orders),
        "conversion": quotient(len(orders), leads),
        "actions_per_lead": quotient(len(rows), leads),
        "refusals": sum(row["result"] == "refused" for row in rows),
        "orders_potential": sum(float(row["potential_revenue"]) for row in orders),
    }


def _activity_compared(rows: Sequence[Record], calendar: Calendar) -> Record:
    now = _activity([row for row in rows if calendar.is_current(row["day"])])
    before = _activity([row for row in rows if calendar.is_previous(row["day"])])
    previous = {f"{name}_previous": value for name, value in before.items()}
    return now | previous | {"orders_change": change(now["orders"], before["orders"])}


def _lead_stage(row: Record) -> int:
    if row["result"] == "order_placed":
        return 5
    if row["action"] == "offer":
        return 4
    if row["action"] in ("meeting", "presentation"):
        return 3
    return 2 if row["action"] in ("call", "message") and row["result"] != "no_answer" else 1


def actions_marts(rows: Sequence[Record], calendar: Calendar) -> Marts:
    """Compute the marts of the stream from its rows up to the report's day."""
    both = [row for row in rows if calendar.is_current(row["day"]) or calendar.is_previous(row["day"])]
    trend = [row for row in rows if row["day"] >= calendar.trend_start]
    by_day, by_branch_day = grouped(rows, "day"), grouped(rows, "branch", "day")
    managers = []
    for (manager,), own in grouped(both, "manager_id").items():
        names = {name: max(row[name] for row in own) for name in ("manager_name", "branch")}
        managers.append({"manager_id": manager} | names | _activity_compared(own, calendar))
    hours = Counter((row["at"].hour, row["at"].weekday()) for row in trend)
    weekdays = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return {
        "actions_summary": [
            {"period": "current"} | _activity([row for row in rows if calendar.is_current(row["day"])]),
            {"period": "previous"} | _activity([row for row in rows if calendar.is_previous(row["day"])]),
        ],
        "actions_daily": [
            {"day": day} | _activity(by_day[day,]) for day in calendar.days(min(row["day"] for row in rows))
        ],
        "actions_branches": [
            {"branch": branch} | _activity_compared(own, calendar)
            for (branch,), own in grouped(both, "branch").items()
        ],
        "actions_branch_days": [
            {"branch": branch, "day": day} | _activity(by_branch_day[branch, day])
            for (branch,) in grouped(trend, "branch")
            for day in calendar.days(calendar.trend_start)
        ],
        "actions_managers": ranked(managers, "orders", "orders_potential"),
        "actions_products": [
            {"product": product} | _activity_compared(own, calendar)
            for (product,), own in grouped(both, "product").items()
        ],
        "actions_refusals": _reasons(
            [row for row in both if row["result"] == "refused"],
            "refusal_reason",
            calendar,
            {"refusals": len, "potential": lambda own: sum(float(row["potential_revenue"]) for row in own)},
        ),
        "actions_hours": [
            {"hour": hour, "total": sum(hours[hour, number] for number in range(7))}
            | {name: hours[hour, number] for number, name in enumerate(weekdays)}
            for hour in range(24)
        ],
        "actions_funnel": _funnel(
            _lead_histories(rows, calendar),
            ("lead", "contact", "meeting", "offer", "order"),
            "leads",
            ("potential", "potential_revenue"),
        ),
    }


def _lead_histories(rows: Sequence[Record], calendar: Calendar) -> list[Record]:
    """Return the leads of the trend weeks: last row, and when each stage was first reached."""
    found = []
    for own in grouped(rows, "lead_id").values():
        first = min(row["at"] for row in own)
        last = max(own, key=lambda row: row["transaction_id"])
        stages = [(_lead_stage(row), row["at"]) for row in own]
        found.append({"last": last, "first_day": first.date(), "reached": _reached(stages, 5)})
    return [lead for lead in found if lead["first_day"] >= calendar.trend_start]


def _reached(stages: Sequence[tuple[int, datetime]], last: int) -> list[datetime | None]:
    """Return when each stage, or a later one, was first reached."""
    return [
        min((at for stage, at in stages if stage >= wanted), default=None) for wanted in range(1, last + 1)
    ]


def _funnel(
    histories: Sequence[Record], steps: Sequence[str], count: str, money: tuple[str, str]
) -> list[Record]:
    """Compute a funnel; `reached[0]` is the start of the history."""
    rows: list[Record] = []
    for number, step in enumerate(steps):
        there = [one for one in histories if one["reached"][number] is not None]
        passed = (one["reached"][number] - one["reached"][number - 1] for one in there) if number else ()
        rows.append(
            {
                "stage": number + 1,
                "step": step,
                count: len(there),
                "margin": (len(histories) - len(there)) / 2,
                "share_of_first": quotient(len(there), len(histories)),
                "share_of_last": quotient(len(there), rows[-1][count]) if rows else None,
                "median_days": _median(_days(time) for time in passed if time),
                money[0]: sum(float(one["last"][money[1]]) for one in there),
            }
        )
    return rows


def _reasons(
    rows: Sequence[Record],
    column: str,
    calendar: Calendar,
    measures: dict[str, Callable[[Sequence[Record]], float]],
) -> list[Record]:
    now = [row for row in rows if calendar.is_current(row["day"])]
    before = [row for row in rows if calendar.is_previous(row["day"])]
    found = []
    for reason in {row[column] for row in [*now, *before]}:
        own = [row for row in now if row[column] == reason]
        previous = sum(row[column] == reason for row in before)
        found.append(
            {
                "reason": reason or "Не указана",
                "share": quotient(len(own), len(now)),
                "previous": previous,
                "share_previous": quotient(previous, len(before)),
                "change": change(len(own), previous),
            }
            | {name: measure(own) for name, measure in measures.items()}
        )
    return found


# Nature


def _orders(rows: Sequence[Record]) -> list[Record]:
    """Return the orders: last row with its day, and when each stage was first reached."""
    found = []
    for own in grouped(rows, "order_id").values():
        last = max(own, key=lambda row: row["transaction_id"])
        stages = [
            (_STAGES.index(row["status"]) + 1 if row["status"] in _STAGES else 1, row["at"]) for row in own
        ]
        reached = _reached(stages, 4)
        assert reached[0]
        found.append(last | {"last": last, "reached": reached, "applied_day": reached[0].date()})
    return found


def _sales(orders: Sequence[Record], is_in: Callable[[date], bool]) -> Record:
    connected = [one for one in orders if one["status"] == "connected" and is_in(one["day"])]
    lost = sum(one["status"] == "lost" and is_in(one["day"]) for one in orders)
    return {
        "applications": sum(is_in(one["applied_day"]) for one in orders),
        "connected": len(connected),
        "lost": lost,
        "success": quotient(len(connected), len(connected) + lost),
        "units": sum(one["units"] for one in connected),
        "one_off_revenue": sum(float(one["one_off_revenue"]) for one in connected),
        "monthly_revenue": sum(float(one["monthly_revenue"]) for one in connected),
        "median_days": _median(_days(one["at"] - one["reached"][0]) for one in connected),
    }


def _is_on(day: date) -> Callable[[date], bool]:
    return lambda other: other == day


def _sales_compared(orders: Sequence[Record], calendar: Calendar) -> Record:
    now, before = _sales(orders, calendar.is_current), _sales(orders, calendar.is_previous)
    revenue = now["monthly_revenue"], before["monthly_revenue"]
    previous = {f"{name}_previous": value for name, value in before.items()}
    return now | previous | {"monthly_revenue_change": change(*revenue)}


def _plan_fact(orders: Sequence[Record], calendar: Calendar) -> Record:
    """Compare with the derived plan: the whole previous month plus 10 per cent."""
    fact = _sales_compared(orders, calendar)
    whole = _sales(orders, lambda day: calendar.previous_start <= day < calendar.month_start)
    for name in ("units", "monthly_revenue"):
        # Rows without sales in the previous month have no plan.
        plan = whole[name] * 1.1 if whole["applications"] + whole["connected"] + whole["lost"] else None
        fact |= {
            f"{name}_plan": plan,
            f"{name}_done": quotient(fact[name], plan) if plan else None,
            f"{name}_forecast": fact[name] * calendar.month_days / calendar.day.day,
        }
    return fact


def _event_days(order: Record) -> list[date]:
    """Return the days on which an order was applied for, and connected or lost."""
    return [order["applied_day"], *([order["day"]] if order["status"] in ("connected", "lost") else [])]


def nature_marts(rows: Sequence[Record], actions: Sequence[Record], calendar: Calendar) -> Marts:
    """Compute the marts of the stream, and of both streams, from their rows up to the report's day."""
    orders = _orders(rows)
    touched = [one for one in orders if max(_event_days(one)) >= calendar.previous_start]
    recent = [one for one in orders if one["applied_day"] >= calendar.trend_start]
    first = min(day for one in orders for day in (one["applied_day"], one["day"]))
    both = (calendar.is_current, calendar.is_previous)
    managers = []
    compared = [one for one in orders if any(is_in(day) for day in _event_days(one) for is_in in both)]
    for (manager,), own in grouped(compared, "manager_id").items():
        names = {name: max(one[name] for one in own) for name in ("manager_name", "branch")}
        managers.append({"manager_id": manager} | names | _sales_compared(own, calendar))
    in_work = [one for one in orders if one["status"] not in ("connected", "lost")]
    trend_branches = {one["branch"] for one in orders if max(_event_days(one)) >= calendar.trend_start}
    marts: Marts = {
        "nature_summary": [
            {"period": period} | _sales(orders, is_in) | _in_work(orders, last)
            for period, is_in, last in (
                ("current", both[0], calendar.day),
                ("previous", both[1], calendar.previous_end),
            )
        ],
        "nature_daily": [{"day": day} | _sales(orders, _is_on(day)) for day in calendar.days(first)],
        "nature_branch_days": [
            {"branch": branch, "day": day}
            | _sales([one for one in orders if one["branch"] == branch], _is_on(day))
            for branch in trend_branches
            for day in calendar.days(calendar.trend_start)
        ],
        "nature_managers": ranked(managers, "monthly_revenue", "units"),
        "nature_funnel": _funnel(recent, _STAGES, "orders", ("monthly_revenue", "monthly_revenue")),
        "nature_month": _month(orders, calendar),
        "nature_ageing": [
            _ages(number, status, in_work, calendar) for number, status in enumerate(_STAGES[:3], 1)
        ],
        "nature_stuck": [
            one | {"status_day": one["day"], "days": (calendar.day - one["day"]).days}
            for one in in_work
            if (calendar.day - one["day"]).days > 14
        ],
        "nature_losses": _reasons(
            [one for one in orders if one["status"] == "lost"],
            "lost_reason",
            calendar,
            {
                "orders": len,
                "units": lambda own: sum(one["units"] for one in own),
                "monthly_revenue": lambda own: sum(float(one["monthly_revenue"]) for one in own),
            },
        ),
        "nature_cohorts": _cohorts(orders, actions, calendar),
    }
    for mart, columns in {
        "nature_services": ("service",),
        "nature_tariffs": ("service", "tariff"),
        "nature_branches": ("branch",),
        "nature_branch_services": ("branch", "service"),
    }.items():
        marts[mart] = [
            dict(zip(columns, key, strict=True)) | _plan_fact(own, calendar)
            for key, own in grouped(touched, *columns).items()
        ]
    return marts


def _in_work(orders: Sequence[Record], last: date) -> Record:
    there = [
        one
        for one in orders
        if one["applied_day"] <= last and (one["status"] not in ("connected", "lost") or one["day"] > last)
    ]
    revenue = sum(float(one["monthly_revenue"]) for one in there)
    return {"in_work": len(there), "in_work_revenue": revenue}


def _month(orders: Sequence[Record], calendar: Calendar) -> list[Record]:
    def until(first: date, last: date) -> Record:
        return _sales(orders, lambda day: first <= day <= last)

    plan = sum(
        float(one["monthly_revenue"]) * 1.1
        for one in orders
        if one["status"] == "connected" and calendar.previous_start <= one["day"] < calendar.month_start
    )
    fact = until(calendar.month_start, calendar.day)["monthly_revenue"]
    rows = []
    for number in range(1, calendar.month_days + 1):
        day = calendar.month_start + timedelta(days=number - 1)
        same = min(
            calendar.previous_start + timedelta(days=number - 1), calendar.month_start - timedelta(days=1)
        )
        now, is_over = until(calendar.month_start, day), day <= calendar.day
        rows.append(
            {
                "day": day,
                "units": now["units"] if is_over else None,
                "monthly_revenue": now["monthly_revenue"] if is_over else None,
                "previous": until(calendar.previous_start, same)["monthly_revenue"],
                "plan": plan * number / calendar.month_days,
                "forecast": fact * number / calendar.day.day if day >= calendar.day else None,
            }
        )
    return rows


def _ages(stage: int, status: str, in_work: Sequence[Record], calendar: Calendar) -> Record:
    own = [(one, (calendar.day - one["day"]).days) for one in in_work if one["status"] == status]
    limits = {
        "days_3": (0, 3),
        "days_7": (4, 7),
        "days_14": (8, 14),
        "days_30": (15, 30),
        "days_more": (31, 9999),
    }
    stuck = [one for one, age in own if age > 14]
    return {
        "stage": stage,
        "status": status,
        "orders": len(own),
        "stuck": len(stuck),
        "stuck_revenue": sum(float(one["monthly_revenue"]) for one in stuck),
        "monthly_revenue": sum(float(one["monthly_revenue"]) for one, _ in own),
    } | {name: sum(least <= age <= most for _, age in own) for name, (least, most) in limits.items()}


def _cohorts(orders: Sequence[Record], actions: Sequence[Record], calendar: Calendar) -> list[Record]:
    by_lead = grouped(orders, "lead_id")
    weeks = defaultdict(list)
    for (lead,), own in grouped(actions, "lead_id").items():
        first = min(row["at"] for row in own)
        if first.date() >= calendar.trend_start:
            weeks[first.date() - timedelta(days=first.weekday())].append((first, by_lead.get((lead,), [])))
    rows = []
    for week, leads in weeks.items():
        statuses = [{one["status"] for one in its} for _, its in leads]
        connections = [(first, [one for one in its if one["status"] == "connected"]) for first, its in leads]
        times = [_days(min(one["at"] for one in done) - first) for first, done in connections if done]
        shares = {
            f"conversion_{days}": sum(time <= days for time in times) / len(leads)
            if week + timedelta(days=6 + days) <= calendar.day
            else None
            for days in (14, 28, 56)
        }
        connected = sum("connected" in found for found in statuses)
        waiting = sum("connected" not in found and bool(found - {"lost"}) for found in statuses)
        rows.append(
            {
                "week": week,
                "leads": len(leads),
                "ordered": sum(bool(found) for found in statuses),
                "connected": connected,
                "in_work": waiting,
                "lost": sum(found == {"lost"} for found in statuses),
                "conversion": connected / len(leads),
                "median_days": _median(times),
                "monthly_revenue": sum(
                    float(one["monthly_revenue"]) for _, done in connections for one in done
                ),
            }
            | shares
        )
    return rows


def marts(
    actions: Sequence[Record], steps: Sequence[Record], zone: ZoneInfo, day: date | None = None
) -> Marts:
    """Compute all marts of a report whose last day is `day`, or the newest row's."""
    local = [[row | {"at": row["occurred_at"].astimezone(zone)} for row in rows] for rows in (actions, steps)]
    dated = [[row | {"day": row["at"].date()} for row in rows] for rows in local]
    last = day or max(row["day"] for rows in dated for row in rows)
    known = [[row for row in rows if row["day"] <= last] for rows in dated]
    calendar = Calendar(last)
    return actions_marts(known[0], calendar) | nature_marts(known[1], known[0], calendar)
