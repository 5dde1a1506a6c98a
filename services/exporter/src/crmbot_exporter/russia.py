"""Exports the all-Russia workbook from the published marts of all MRFs."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from psycopg import errors

from crmbot_core.contracts.streams import checked_mrf
from crmbot_core.errors import ConfigurationError
from crmbot_core.telemetry import Logger
from crmbot_core.warehouse import Connection, snapshot
from crmbot_exporter import marts
from crmbot_exporter.cells import number
from crmbot_exporter.dashboards.russia import RUSSIA_DASHBOARD
from crmbot_exporter.files import replaced, require_folder
from crmbot_exporter.frames import Record, periods, records
from crmbot_exporter.report import Report
from crmbot_exporter.settings import RussiaSettings
from crmbot_exporter.workbook import write_workbook

Published = Mapping[str, Mapping[str, list[Record]]]  # rows by mart, by MRF

_MARTS = (
    *("actions_summary", "actions_daily", "nature_summary", "nature_daily", "nature_ageing"),
    *("nature_branches", "nature_services", "nature_managers"),
)
_PLAN_FACT = (
    *("units", "units_plan", "units_forecast", "monthly_revenue", "monthly_revenue_plan"),
    *("monthly_revenue_forecast", "monthly_revenue_previous"),
)
_SUMMED = (
    *("actions", "leads", "orders", "refusals", "applications", "connected", "lost", "units"),
    *("one_off_revenue", "monthly_revenue", "in_work_revenue"),
)


def export_russia(settings: RussiaSettings, mrfs: Sequence[str], log: Logger) -> Path:
    """Save russia.xlsx from the published marts of the MRFs, in one snapshot; return its path.

    MRFs without rows are left out.

    Raises:
        ConfigurationError: if an MRF's name is invalid, is repeated, or has no published marts.
    """
    for mrf in mrfs:
        if mrfs.count(checked_mrf(mrf)) > 1:
            raise ConfigurationError(f"--mrfs has {mrf} twice: its figures would count twice")
    require_folder(settings.output_dir)
    path = settings.output_dir / "russia.xlsx"
    with replaced(path) as file, snapshot(settings) as connection:
        reports = _reports(connection, settings, mrfs)
        published = {
            report.mrf: {
                mart: records(marts.fetch(connection, marts.published(report.mrf).table(mart)))
                for mart in _MARTS
            }
            for report in reports
        }
        newest = max(reports, key=lambda report: report.days.day if report.days else date.min, default=None)
        offsets = tuple(offset for report in reports for offset in report.offsets)
        whole = Report("", settings.zone, newest.days if newest else None, offsets)
        write_workbook(file, RUSSIA_DASHBOARD, whole, frames(reports, published), _notes(reports))
    log.info("workbook written", mrfs=len(reports), path=str(path))
    return path


def frames(reports: Sequence[Report], published: Published) -> dict[str, pd.DataFrame]:
    """Return the dashboard's tables by name, sorted as shown; pure."""
    days = {report.mrf: report.days.day for report in reports if report.days}
    rows: dict[str, list[Record]] = {
        "summary": _summary(published),
        "mrfs": [_mrf(mrf, days[mrf], mrf_marts) for mrf, mrf_marts in published.items()],
        "daily": _daily(published),
        "branches": [
            {"mrf": mrf, **row}
            for mrf, mrf_marts in published.items()
            for row in mrf_marts["nature_branches"]
        ],
        "services": _services(published),
        "managers": _managers(published),
    }
    descending = ("mrfs", "branches", "services")
    for name in descending:
        rows[name].sort(key=lambda row: -(number(row["monthly_revenue"]) or 0.0))
    return {name: pd.DataFrame(found, dtype=object) for name, found in rows.items()}


def _reports(connection: Connection, settings: RussiaSettings, mrfs: Sequence[str]) -> list[Report]:
    """Lock the published marts for the transaction and return the reports that have rows."""
    for mrf in mrfs:
        try:
            marts.hold(connection, mrf)
        except errors.UndefinedTable:
            raise ConfigurationError(
                f"{mrf} has no marts: run `crmbot-exporter export --mrf {mrf}`"
            ) from None
    found = [marts.read_report(connection, settings.zone, marts.published(mrf)) for mrf in mrfs]
    return [report for report in found if report.days]


def _sums(rows: Sequence[Record], columns: Sequence[str]) -> Record:
    """Return the sum of each column; None if no row has a value."""
    sums: dict[str, Any] = {}
    for column in columns:
        values = [value for row in rows if (value := number(row.get(column))) is not None]
        sums[column] = sum(values) if values else None
    return sums


def _quotient(numerator: object, denominator: object, minus: int = 0) -> float | None:
    over, under = number(numerator), number(denominator)
    return over / under - minus if over is not None and under else None


def _summary(published: Published) -> list[Record]:
    both: list[list[Record]] = [[], []]
    for mrf_marts in published.values():
        for mart in ("actions_summary", "nature_summary"):
            for rows, row in zip(both, periods(pd.DataFrame(mrf_marts[mart], dtype=object)), strict=True):
                rows.append(row)
    found: list[Record] = []
    for period, rows in zip(("current", "previous"), both, strict=True):
        sums = _sums(rows, _SUMMED)
        closed = (sums["connected"] or 0) + (sums["lost"] or 0)
        shares = {
            "conversion": _quotient(sums["orders"], sums["leads"]),
            "success": _quotient(sums["connected"], closed),
        }
        found.append({"period": period, **sums, **shares})
    return found


def _plan_fact(rows: Sequence[Record]) -> Record:
    sums = _sums(rows, _PLAN_FACT)
    return sums | {
        "units_done": _quotient(sums["units"], sums["units_plan"]),
        "monthly_revenue_done": _quotient(sums["monthly_revenue"], sums["monthly_revenue_plan"]),
        "monthly_revenue_change": _quotient(sums["monthly_revenue"], sums["monthly_revenue_previous"], 1),
    }


def _mrf(mrf: str, day: object, mrf_marts: Mapping[str, list[Record]]) -> Record:
    activity, _ = periods(pd.DataFrame(mrf_marts["actions_summary"], dtype=object))
    stuck = _sums(mrf_marts["nature_ageing"], ("stuck", "stuck_revenue"))
    names = ("leads", "orders", "conversion")
    return {"mrf": mrf, "day": day, **{name: activity[name] for name in names}, **stuck} | _plan_fact(
        mrf_marts["nature_branches"]
    )


def _daily(published: Published) -> list[Record]:
    days: dict[Any, list[Record]] = {}
    for mrf_marts in published.values():
        for row in (*mrf_marts["actions_daily"], *mrf_marts["nature_daily"]):
            days.setdefault(row["day"], []).append(row)
    columns = ("actions", "leads", "orders", "applications", "connected", "units", "monthly_revenue")
    return [
        {"day": day} | {name: value or 0 for name, value in _sums(days[day], columns).items()}
        for day in sorted(days)
    ]


def _services(published: Published) -> list[Record]:
    services: dict[str, list[Record]] = {}
    for mrf_marts in published.values():
        for row in mrf_marts["nature_services"]:
            services.setdefault(row["service"], []).append(row)
    return [{"service": service} | _plan_fact(rows) for service, rows in services.items()]


def _managers(published: Published) -> list[Record]:
    """Return the first 50 of all managers, by monthly revenue, then by units; ties share a place."""
    rows = [
        {"mrf": mrf, **row} for mrf, mrf_marts in published.items() for row in mrf_marts["nature_managers"]
    ]
    rows.sort(key=lambda row: (-row["monthly_revenue"], -row["units"], row["manager_name"]))
    place, before = 0, None
    for number_, row in enumerate(rows, 1):
        score = row["monthly_revenue"], row["units"]
        place = place if score == before else number_
        row["place"], before = place, score
    return rows[:50]


def _notes(reports: Sequence[Report]) -> list[str]:
    return [
        f"{report.title}: по {report.days.day:%d.%m.%Y}, данные на {report.loaded_at:%d.%m.%Y %H:%M}"
        if report.loaded_at
        else f"{report.title}: по {report.days.day:%d.%m.%Y}"
        for report in reports
        if report.days
    ]
