"""nature_mrf1.xlsx shows what the rows in the warehouse say, computed here a second time without SQL."""

import statistics
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
import structlog

from crmbot_exporter.dashboards import DASHBOARDS
from crmbot_exporter.export import export_stream
from crmbot_exporter.labels import label

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Record, Warehouse

    ReadTable = Callable[[Path, str, str], list[tuple[Any, ...]]]

pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning:openpyxl")

ZONE = ZoneInfo("Asia/Vladivostok")
STEPS = ("application", "feasibility", "contract", "connected")


class Order:
    """One order, from its rows in the order of their transaction ids."""

    def __init__(self, rows: "Sequence[Record]") -> None:
        self.last = rows[-1]
        self.status: str = self.last["status"]
        self.at = {row["status"]: row["occurred_at"] for row in rows}
        self.stage = max(STEPS.index(row["status"]) + 1 for row in rows if row["status"] in STEPS)
        self.applied = rows[0]["occurred_at"].astimezone(ZONE).date()
        self.changed = self.last["occurred_at"].astimezone(ZONE).date()
        self.monthly = float(self.last["monthly_revenue"])

    def days_to(self, step: str) -> float:
        passed: timedelta = self.at[step] - self.at["application"]
        return passed / timedelta(days=1)


@pytest.fixture
def orders(random_steps: "list[Record]") -> list[Order]:
    by_id: dict[str, list[Record]] = {}
    for row in sorted(random_steps, key=lambda row: row["transaction_id"]):
        by_id.setdefault(row["order_id"], []).append(row)
    return [Order(rows) for rows in by_id.values()]


@pytest.fixture
def path(warehouse: "Warehouse", orders: list[Order], tmp_path: Path) -> Path:
    settings = warehouse.settings(tmp_path, timezone=ZONE.key)
    return export_stream(settings, DASHBOARDS["nature"], structlog.get_logger())


def _with(orders: Sequence[Order], *statuses: str) -> list[Order]:
    return [order for order in orders if order.status in statuses]


def _sum(orders: Sequence[Order], column: str) -> Any:  # noqa: ANN401  (pytest's approx)
    return pytest.approx(sum(float(order.last[column]) for order in orders))


def _sold(orders: Sequence[Order]) -> tuple[Any, ...]:
    """Return units, one-off and monthly revenue of the connected ones."""
    done = _with(orders, "connected")
    return tuple(_sum(done, column) for column in ("units", "one_off_revenue", "monthly_revenue"))


def _conversion(orders: Sequence[Order]) -> Any:  # noqa: ANN401  (pytest's approx)
    return pytest.approx(len(_with(orders, "connected")) / len(orders)) if orders else None


def _grouped(orders: Sequence[Order], *columns: str) -> dict[tuple[str, ...], list[Order]]:
    groups: dict[tuple[str, ...], list[Order]] = {}
    for order in orders:
        groups.setdefault(tuple(order.last[column] for column in columns), []).append(order)
    return groups


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _at_midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time())


def test_summary(path: Path, orders: list[Order]) -> None:
    cells = list(openpyxl.load_workbook(path)["Сводка"].iter_rows(values_only=True))
    figures = [value for row in (cells[4], cells[7]) for value in row if value is not None]
    done = _with(orders, "connected")
    units, one_off, monthly = _sold(orders)
    assert figures == [
        len(orders),
        len(done),
        _conversion(orders),
        pytest.approx(statistics.median(order.days_to("connected") for order in done)),
        units,
        monthly,
        one_off,
        _sum(_with(orders, "application", "feasibility", "contract"), "monthly_revenue"),
    ]


def test_statuses(path: Path, orders: list[Order], read_table: "ReadTable") -> None:
    wanted = [
        (
            label("status", status),
            len(_with(orders, status)),
            pytest.approx(len(_with(orders, status)) / len(orders)),
            *(
                _sum(_with(orders, status), column)
                for column in ("units", "one_off_revenue", "monthly_revenue")
            ),
        )
        for status in (*STEPS, "lost")
    ]
    assert read_table(path, "Статусы", "Статус") == wanted


def test_daily(path: Path, orders: list[Order], read_table: "ReadTable") -> None:
    days = _days(min(order.applied for order in orders), max(order.changed for order in orders))
    wanted = []
    for day in days:
        changed = [order for order in orders if order.changed == day]
        counts = len(_with(changed, "connected")), len(_with(changed, "lost"))
        applied = sum(order.applied == day for order in orders)
        wanted.append((_at_midnight(day), applied, *counts, *_sold(changed)))
    assert read_table(path, "Динамика", "Дата") == wanted


def test_conversion_by_day_of_application(path: Path, orders: list[Order], read_table: "ReadTable") -> None:
    days = _days(min(order.applied for order in orders), max(order.applied for order in orders))
    wanted = []
    for day in days:
        applied = [order for order in orders if order.applied == day]
        reached = (sum(order.stage >= stage for order in applied) for stage in (2, 3))
        in_work = len(_with(applied, "application", "feasibility", "contract"))
        ends = len(_with(applied, "connected")), in_work, len(_with(applied, "lost"))
        wanted.append((_at_midnight(day), len(applied), *reached, *ends, _conversion(applied)))
    assert read_table(path, "Конверсия", "Дата заявки") == wanted


def test_funnel(path: Path, orders: list[Order], read_table: "ReadTable") -> None:
    wanted = []
    for number, step in enumerate(STEPS):
        reached = [order for order in orders if order.stage > number]
        before = [order for order in orders if order.stage >= number]
        median = statistics.median(order.days_to(step) for order in reached)
        wanted.append(
            (
                label("step", step),
                len(reached),
                pytest.approx(len(reached) / len(orders)),
                pytest.approx(len(reached) / len(before)) if number else None,
                pytest.approx(median) if number else None,
                _sum(reached, "monthly_revenue"),
            )
        )
    assert read_table(path, "Воронка", "Шаг") == wanted


@pytest.mark.parametrize(
    ("sheet", "title", "columns"),
    [("Услуги", "Услуга", ("service",)), ("Тарифы", "Тариф", ("tariff", "service"))],
)
def test_services_and_tariffs(
    path: Path, orders: list[Order], read_table: "ReadTable", sheet: str, title: str, columns: tuple[str, ...]
) -> None:
    table = read_table(path, sheet, title)
    groups = _grouped(orders, *columns)
    wanted = {
        key: (len(group), len(_with(group, "connected")), _conversion(group), *_sold(group))
        for key, group in groups.items()
    }
    assert {row[: len(columns)]: row[len(columns) :] for row in table} == wanted
    units = [row[-3] for row in table]
    assert units == sorted(units, reverse=True)


def test_branches(path: Path, orders: list[Order], read_table: "ReadTable") -> None:
    wanted = {}
    for (branch,), group in _grouped(orders, "branch").items():
        in_work = len(_with(group, "application", "feasibility", "contract"))
        counts = len(group), len(_with(group, "connected")), in_work, len(_with(group, "lost"))
        wanted[branch] = (*counts, _conversion(group), *_sold(group))
    assert {row[0]: row[1:] for row in read_table(path, "Филиалы", "Филиал")} == wanted


def test_managers(path: Path, orders: list[Order], read_table: "ReadTable") -> None:
    wanted = {
        key: (len(group), len(_with(group, "connected")), _conversion(group), *_sold(group))
        for key, group in _grouped(orders, "manager_name", "branch").items()
    }
    table = read_table(path, "Менеджеры", "Место")
    assert {row[1:3]: row[3:] for row in table} == wanted
    assert [row[-1] for row in table] == sorted((row[-1] for row in table), reverse=True)


def test_losses(path: Path, orders: list[Order], read_table: "ReadTable") -> None:
    lost = _with(orders, "lost")
    wanted = {}
    for (reason,), group in _grouped(lost, "lost_reason").items():
        sums = _sum(group, "units"), _sum(group, "monthly_revenue")
        wanted[reason or "Не указана"] = (len(group), pytest.approx(len(group) / len(lost)), *sums)
    assert {row[0]: row[1:] for row in read_table(path, "Потери", "Причина")} == wanted
