"""The summary's sentences: what changed, where and by how much. Pure functions of the marts."""

from collections.abc import Callable

import pandas as pd

from crmbot_exporter import russian
from crmbot_exporter.cells import number
from crmbot_exporter.frames import Frames, periods, records
from crmbot_exporter.labels import label, mrf_title
from crmbot_exporter.report import Report


def actions_insights(report: Report, frames: Frames) -> list[str]:
    """Return the main findings on managers' activity."""
    if report.days is None:
        return []
    now, before = periods(frames["actions_summary"])
    branches = frames["actions_branches"]
    return [
        f"Заявок за {report.days.period} – {russian.integer(now['orders'])}: "
        f"{_compared(now['orders'], before['orders'], report.days.previous_period)}; "
        f"новых лидов – {russian.integer(now['leads'])}, "
        f"{_compared(now['leads'], before['leads'], '')}.",
        *_movers(branches, "orders", "заявкам", russian.integer),
        *_best_manager(frames["actions_managers"], "orders", ("заявка", "заявки", "заявок")),
        *_main_reason(frames["actions_refusals"], "refusals", "отказываются", "отказов"),
        *_slowest_step(frames["actions_funnel"]),
    ]


def nature_insights(report: Report, frames: Frames) -> list[str]:
    """Return the main findings on sales."""
    if report.days is None:
        return []
    now, before = periods(frames["nature_summary"])
    return [
        f"За {report.days.period} подключено на {russian.roubles(now['monthly_revenue'])} в месяц: "
        f"{_compared(now['monthly_revenue'], before['monthly_revenue'], report.days.previous_period)}.",
        *_plan(report, frames["nature_month"], frames["nature_branches"]),
        *_movers(frames["nature_branches"], "monthly_revenue", "выручке в месяц", russian.roubles),
        *_best_manager(frames["nature_managers"], "monthly_revenue", None),
        *_main_reason(frames["nature_losses"], "orders", "теряются заказы", "потерь"),
        *_stuck(frames["nature_stuck"]),
    ]


def russia_insights(report: Report, frames: Frames) -> list[str]:
    """Return the main findings across all MRFs."""
    if report.days is None:
        return []
    now, before = periods(frames["summary"])
    mrfs = frames["mrfs"].assign(branch=[mrf_title(mrf) for mrf in frames["mrfs"]["mrf"]])
    planned = [row for row in records(mrfs) if number(row["monthly_revenue_done"]) is not None]
    found = [
        f"За {report.days.period} подключено на {russian.roubles(now['monthly_revenue'])} в месяц: "
        f"{_compared(now['monthly_revenue'], before['monthly_revenue'], report.days.previous_period)}.",
        *_movers(mrfs, "monthly_revenue", "выручке в месяц", russian.roubles),
    ]
    if planned:
        first = max(planned, key=lambda row: row["monthly_revenue_done"])
        last = min(planned, key=lambda row: row["monthly_revenue_done"])
        found.append(
            f"Ближе всех к плану месяца {first['branch']}: {russian.percent(first['monthly_revenue_done'])}; "
            f"дальше всех {last['branch']}: {russian.percent(last['monthly_revenue_done'])}."
        )
    return [*found, *_best_manager(frames["managers"], "monthly_revenue", None)]


def _compared(now: object, before: object, than: str) -> str:
    """Return «на 12 % больше, чем за 1–29 сентября»."""
    new, old = number(now) or 0.0, number(before) or 0.0
    compared = f", чем за {than}" if than else ""
    if not old:
        return "месяцем раньше не было ничего"
    if new == old:
        return f"столько же, сколько за {than}" if than else "столько же"
    word = "больше" if new > old else "меньше"
    return f"на {russian.percent(abs(new / old - 1))} {word}{compared}"


def _movers(branches: pd.DataFrame, column: str, what: str, shown: Callable[[float], str]) -> list[str]:
    """Name the branches that gained and lost most against the same days of the previous month."""
    moves = [(number(row[column] - row[f"{column}_previous"]) or 0.0, row) for row in records(branches)]
    if len(moves) < 2:
        return []
    best, worst = max(moves, key=lambda move: move[0]), min(moves, key=lambda move: move[0])
    parts = []
    for sign, word, (move, row) in ((1, "вырос", best), (-1, "упал", worst)):
        if move * sign > 0:
            old = number(row[f"{column}_previous"])
            share = f" ({russian.percent(abs(move) / old)})" if old else ""
            parts.append(f"{word} {row['branch']}: {'+' if sign > 0 else '−'}{shown(abs(move))}{share}")
    return [f"По {what} сильнее всех {', сильнее всех '.join(parts)}."] if parts else []


def _best_manager(managers: pd.DataFrame, column: str, forms: tuple[str, str, str] | None) -> list[str]:
    if managers.empty or not number(managers[column].iloc[0]):
        return []
    best = managers.iloc[0]
    value = (
        russian.counted(int(best[column]), *forms) if forms else f"{russian.roubles(best[column])} в месяц"
    )
    return [f"Первый в рейтинге менеджеров – {best['manager_name']} ({best['branch']}): {value}."]


def _main_reason(reasons: pd.DataFrame, column: str, what: str, of: str) -> list[str]:
    if reasons.empty or not number(reasons[column].iloc[0]):
        return []
    main = reasons.iloc[0]
    before = number(main["share_previous"])
    compared = f" (месяцем раньше {russian.percent(before)})" if before is not None else ""
    return [
        f"Чаще всего {what} по причине «{main['reason']}»: {russian.percent(main['share'])} {of}{compared}."
    ]


def _slowest_step(funnel: pd.DataFrame) -> list[str]:
    """Name the funnel step with the lowest conversion from the previous step."""
    steps = [row for row in records(funnel) if number(row["share_of_last"]) is not None]
    if not steps:
        return []
    narrow = min(steps, key=lambda row: row["share_of_last"])
    return [
        f"Самое узкое место воронки – шаг «{label('step', narrow['step'])}»: до него доходит "
        f"{russian.percent(narrow['share_of_last'])} лидов предыдущего шага."
    ]


def _plan(report: Report, month: pd.DataFrame, branches: pd.DataFrame) -> list[str]:
    """Report the plan's completion and the month's forecast at the current pace."""
    planned = number(month["plan"].iloc[-1]) if not month.empty else None
    if not planned or report.days is None:
        return []
    fact = max((number(value) or 0.0 for value in month["monthly_revenue"]), default=0.0)
    forecast = number(month["forecast"].iloc[-1]) or 0.0
    plan = "Расчётный план" if month["is_plan_derived"].iloc[-1] else "План"
    text = (
        f"{plan} месяца выполнен на {russian.percent(fact / planned)}, "
        f"прошло {russian.percent(report.days.days / report.days.month_days)} его дней; "
        f"при таком темпе месяц закончится на {russian.percent(forecast / planned)} плана"
    )
    behind = [row for row in records(branches) if number(row["monthly_revenue_done"]) is not None]
    if len(behind) > 1:
        last = min(behind, key=lambda row: row["monthly_revenue_done"])
        text += f"; дальше всех от плана {last['branch']}: {russian.percent(last['monthly_revenue_done'])}"
    return [f"{text}."]


def _stuck(orders: pd.DataFrame) -> list[str]:
    if orders.empty:
        return []
    revenue = sum(number(value) or 0.0 for value in orders["monthly_revenue"])
    branch, count = orders["branch"].value_counts().index[0], int(orders["branch"].value_counts().iloc[0])
    return [
        f"Больше 14 дней на одном шаге стоят {russian.counted(len(orders), 'заказ', 'заказа', 'заказов')} "
        f"на {russian.roubles(revenue)} в месяц; больше всего – {branch}: {russian.integer(count)}."
    ]
