"""Small cases of each mart, worked out by hand; the report's last day is 12 March 2025, in Moscow."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import structlog

from crmbot_core.contracts import ACTIONS
from crmbot_exporter.export import rebuild_marts

if TYPE_CHECKING:
    from pathlib import Path

    from services.exporter.tests.conftest import Warehouse

    Mart = Callable[..., list[tuple[Any, ...]]]

DAY = date(2025, 3, 12)
HALF = pytest.approx(0.5)


def at(day: int, month: int = 3, hour: int = 12) -> datetime:
    """Return an hour of 2025 in Moscow, which is three hours ahead of UTC."""
    return datetime(2025, month, day, hour, tzinfo=UTC) - timedelta(hours=3)


@pytest.fixture
def mart(warehouse: "Warehouse", tmp_path: "Path") -> "Mart":
    """Rebuild the marts and return columns of one, sorted."""

    def read(name: str, *columns: str, day: date | None = DAY) -> list[tuple[Any, ...]]:
        settings = warehouse.settings(tmp_path, timezone="Europe/Moscow", report_day=day)
        rebuild_marts(settings, structlog.get_logger())
        return warehouse.query(f"SELECT {', '.join(columns)} FROM crm_bot_mart_{name}_mrf1 ORDER BY 1, 2")

    return read


@pytest.mark.parametrize(
    ("day", "previous_end", "trend_start", "month_days"),
    [
        (DAY, date(2025, 2, 12), date(2024, 12, 16), 31),
        (date(2025, 3, 31), date(2025, 2, 28), date(2025, 1, 6), 31),  # a whole month against a whole month
        (date(2025, 3, 30), date(2025, 2, 28), date(2024, 12, 30), 31),  # no 30 February
        (date(2025, 2, 28), date(2025, 1, 31), date(2024, 12, 2), 28),
    ],
)
def test_report(
    warehouse: "Warehouse", mart: "Mart", day: date, previous_end: date, trend_start: date, month_days: int
) -> None:
    ((found, start, end, trend, days, length),) = mart(
        "report", "day", "previous_start", "previous_end", "trend_start", "days", "month_days", day=day
    )
    assert (found, end, trend, days, length) == (day, previous_end, trend_start, day.day, month_days)
    assert start == previous_end.replace(day=1)


def test_the_report_ends_on_the_day_of_the_newest_row_of_either_stream(
    warehouse: "Warehouse", mart: "Mart"
) -> None:
    warehouse.add_actions({"occurred_at": at(3)})
    warehouse.add_steps({"occurred_at": at(5, hour=23)})
    assert mart("report", "day", "run", day=None) == [(date(2025, 3, 5), "")]


def test_rows_after_the_last_day_are_ignored(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_actions(
        {"occurred_at": at(12, hour=23), "result": "thinking"},
        {"occurred_at": at(13, hour=0), "result": "order_placed"},
    )
    assert mart("actions_leads", "lead_id", "last_result", "stage") == [("L1", "thinking", 2)]
    assert mart("actions_summary", "period", "actions", "orders") == [("current", 1, 0), ("previous", 0, 0)]


def test_offsets(warehouse: "Warehouse", mart: "Mart") -> None:
    for end, hour in ((10, 1), (25, 2)):
        with psycopg.connect(warehouse.dsn) as connection:
            connection.execute("DELETE FROM crm_bot_ledger")
        warehouse.add_ledger(ACTIONS, 0, end, at(12, hour=hour))
    assert mart("offsets", "topic", "kafka_partition", "end_offset") == [("crm_bot_actions_mrf1", 0, 25)]


def test_actions_activity_and_hours(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_actions(
        {"occurred_at": at(10, hour=9), "action": "lead_created", "result": "new"},
        {"occurred_at": at(10, hour=9), "result": "order_placed", "potential_revenue": "7.50"},
        {"occurred_at": at(11, hour=9), "result": "refused"},
    )
    columns = ("day", "hour", "actions", "leads", "orders", "refusals", "orders_potential")
    assert [row[:6] for row in mart("actions_activity", *columns)] == [
        (date(2025, 3, 10), 9, 2, 1, 1, 0),
        (date(2025, 3, 11), 9, 1, 0, 0, 1),
    ]
    hours = mart("actions_hours", "hour", "monday", "tuesday", "sunday", "total")
    assert hours[9] == (9, 2, 1, 0, 3)
    assert len(hours) == 24
    assert sum(row[4] for row in hours) == 3


def test_actions_by_day_by_branch_by_manager_and_by_product(warehouse: "Warehouse", mart: "Mart") -> None:
    tula = {"branch": "Тула", "manager_id": "M1", "product": "ТВ"}
    tver = {"branch": "Тверь", "manager_id": "M2", "product": "VPN"}
    warehouse.add_actions(
        tula | {"occurred_at": at(1), "action": "lead_created", "result": "new"},
        tula | {"occurred_at": at(2), "result": "order_placed", "potential_revenue": "10.00"},
        tula | {"occurred_at": at(2), "result": "order_placed", "potential_revenue": "20.00"},
        tula | {"occurred_at": at(12, 2), "result": "order_placed"},
        tula | {"occurred_at": at(13, 2), "result": "order_placed"},  # after the compared days
        tver | {"occurred_at": at(2), "action": "lead_created", "result": "new"},
        tver | {"occurred_at": at(3, 2), "action": "lead_created", "result": "new"},
    )
    daily = mart("actions_daily", "day", "actions", "managers", "leads", "orders")
    assert daily[0] == (date(2025, 2, 3), 1, 1, 1, 0)
    assert daily[-11:-9] == [(date(2025, 3, 2), 3, 2, 1, 2), (date(2025, 3, 3), 0, 0, 0, 0)]
    assert daily[-1][0] == DAY
    columns = ("leads", "orders", "conversion", "orders_potential", "orders_previous", "orders_change")
    assert mart("actions_branches", "branch", *columns) == [
        ("Тверь", 1, 0, 0, 0, 0, None),
        ("Тула", 1, 2, 2, 30, 1, 1),
    ]
    assert mart("actions_managers", "place", "manager_id", "orders", "orders_previous") == [
        (1, "M1", 2, 1),
        (2, "M2", 0, 0),
    ]
    assert mart("actions_products", "product", *columns[:3], "orders_change") == [
        ("VPN", 1, 0, 0, None),
        ("ТВ", 1, 2, 2, 1),
    ]
    days = mart("actions_branch_days", "branch", "day", "actions", "orders")
    assert len(days) == 2 * 87  # from 16 December to 12 March
    assert ("Тула", date(2025, 3, 2), 2, 2) in days


def test_actions_funnel_counts_the_furthest_step_and_the_days_between(
    warehouse: "Warehouse", mart: "Mart"
) -> None:
    warehouse.add_actions(
        {"lead_id": "A", "occurred_at": at(1), "action": "lead_created", "result": "new"},
        {"lead_id": "A", "occurred_at": at(3), "action": "call"},
        {"lead_id": "A", "occurred_at": at(7), "action": "meeting"},
        {"lead_id": "B", "occurred_at": at(1), "action": "lead_created", "result": "new"},
        {"lead_id": "B", "occurred_at": at(2), "action": "call", "result": "no_answer"},
        {"lead_id": "B", "occurred_at": at(5), "action": "offer", "result": "order_placed"},  # skips steps
        {"lead_id": "C", "occurred_at": at(12), "action": "call", "result": "no_answer"},
        {"lead_id": "old", "occurred_at": at(1, 1) - timedelta(days=30), "action": "call"},
    )
    columns = ("stage", "step", "leads", "margin", "share_of_last", "median_days")
    assert mart("actions_funnel", *columns) == [
        (1, "lead", 3, 0, None, None),
        (2, "contact", 2, 0.5, pytest.approx(2 / 3), 3),  # 2 days and 4
        (3, "meeting", 2, 0.5, 1, 4),  # lead A only
        (4, "offer", 1, 1, HALF, None),
        (5, "order", 1, 1, 1, None),
    ]


def test_actions_refusals(warehouse: "Warehouse", mart: "Mart") -> None:
    refusal = {"result": "refused", "refusal_reason": "Дорого", "potential_revenue": "5.00"}
    warehouse.add_actions(
        refusal | {"occurred_at": at(1)},
        refusal | {"occurred_at": at(12)},
        refusal | {"occurred_at": at(2), "refusal_reason": None},
        refusal | {"occurred_at": at(5, 2)},
        refusal | {"occurred_at": at(20, 2)},  # after the compared days
    )
    columns = ("reason", "refusals", "share", "potential", "previous", "share_previous", "change")
    assert mart("actions_refusals", *columns) == [
        ("Дорого", 2, pytest.approx(2 / 3), 10, 1, 1, 1),
        ("Не указана", 1, pytest.approx(1 / 3), 5, 0, 0, None),
    ]


def _order(order_id: str, *steps: tuple[str, datetime], **values: object) -> list[dict[str, Any]]:
    return [{"order_id": order_id, "status": status, "occurred_at": time, **values} for status, time in steps]


def test_nature_sales_count_on_the_day_of_the_current_state(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_steps(
        *_order("A", ("application", at(1)), ("connected", at(5)), units=3, monthly_revenue="100.00"),
        *_order("B", ("application", at(1)), ("lost", at(6))),
        *_order("C", ("application", at(4, 2)), ("contract", at(7, 2))),
    )
    columns = ("day", "applications", "connected", "lost", "units", "monthly_revenue")
    assert mart("nature_sales", *columns) == [
        (date(2025, 2, 4), 1, 0, 0, 0, 0),
        (date(2025, 3, 1), 2, 0, 0, 0, 0),
        (date(2025, 3, 5), 0, 1, 0, 3, 100),
        (date(2025, 3, 6), 0, 0, 1, 0, 0),
    ]
    daily = mart("nature_daily", *columns)
    assert (daily[0][0], daily[-1][0], len(daily)) == (date(2025, 2, 4), DAY, 37)
    summary = ("period", "connected", "success", "median_days", "in_work", "in_work_revenue")
    assert mart("nature_summary", *summary) == [
        ("current", 1, HALF, 4, 1, 700),
        ("previous", 0, None, None, 1, 700),
    ]
    assert mart("nature_orders", "order_id", "status", "stage") == [
        ("A", "connected", 4),
        ("B", "lost", 1),
        ("C", "contract", 3),
    ]


def test_the_derived_plan_is_the_whole_previous_month_plus_a_tenth(
    warehouse: "Warehouse", mart: "Mart"
) -> None:
    sold = {"branch": "Тула", "service": "ТВ", "tariff": "Старт"}
    warehouse.add_steps(
        *_order("old", ("application", at(15, 1)), **sold),
        *_order("A", ("connected", at(5, 2)), units=10, monthly_revenue="1000.00", **sold),
        *_order("B", ("connected", at(27, 2)), units=10, monthly_revenue="1000.00", **sold),
        *_order("C", ("connected", at(3)), units=11, monthly_revenue="1100.00", **sold),
    )
    columns = ("branch", "service", "units", "units_previous", "units_plan", "units_forecast")
    assert mart("nature_plan_fact", *columns) == [("Тула", "ТВ", 11, 10, 22, pytest.approx(11 * 31 / 12))]
    for name in ("services", "tariffs", "branches", "branch_services"):
        ((done, revenue, change),) = mart(
            f"nature_{name}", "units_done", "monthly_revenue_done", "monthly_revenue_change"
        )
        assert (done, revenue, change) == (HALF, HALF, pytest.approx(0.1))
    assert {row[1] for row in mart("nature_month", "day", "is_plan_derived")} == {True}
    days = mart("nature_month", "day", "monthly_revenue", "previous", "plan", "forecast")
    assert len(days) == 31
    assert days[1] == (date(2025, 3, 2), 0, 0, pytest.approx(2200 * 2 / 31), None)
    assert days[11] == (DAY, 1100, 1000, pytest.approx(2200 * 12 / 31), 1100)
    assert days[30] == (date(2025, 3, 31), None, 2000, 2200, pytest.approx(1100 * 31 / 12))


def test_without_the_whole_previous_month_there_is_no_plan(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_steps(*_order("A", ("connected", at(5, 2))), *_order("B", ("connected", at(3))))
    assert mart("nature_plan", "branch", "units") == []
    assert mart("nature_branches", "branch", "units_plan", "units_done") == [("Тульский", None, None)]


def test_the_last_loaded_plan_is_used(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_steps(*_order("A", ("connected", at(5, 1))), *_order("B", ("connected", at(3)), units=6))
    with psycopg.connect(warehouse.dsn) as connection:
        insert = "INSERT INTO crm_bot_plan_mrf1 VALUES (%s, 'Тульский', 'Интернет', 'Старт 100', %s, 10, %s)"
        for month, units, loaded in ((3, 100, 1), (3, 12, 2), (4, 9, 3)):
            connection.execute(insert, (date(2025, month, 1), units, at(loaded)))
    assert mart("nature_plan", "branch", "units", "is_derived") == [("Тульский", 12, False)]
    assert mart("nature_services", "service", "units", "units_done") == [("Интернет", 6, HALF)]


def test_nature_managers_and_branch_days(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_steps(
        *_order("A", ("connected", at(5)), manager_id="M1", monthly_revenue="100.00"),
        *_order("B", ("connected", at(5)), manager_id="M2", monthly_revenue="150.00"),
        *_order("C", ("connected", at(6, 2)), manager_id="M2", monthly_revenue="300.00"),
    )
    columns = ("place", "manager_id", "monthly_revenue", "monthly_revenue_change")
    assert mart("nature_managers", *columns) == [(1, "M2", 150, -HALF.expected), (2, "M1", 100, None)]
    days = mart("nature_branch_days", "branch", "day", "connected", "monthly_revenue")
    assert ("Тульский", date(2025, 3, 5), 2, 250) in days
    assert len(days) == 87


def test_nature_funnel(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_steps(
        *_order(
            "A", ("application", at(1)), ("feasibility", at(2)), ("contract", at(6)), ("connected", at(8))
        ),
        *_order("B", ("application", at(1)), ("feasibility", at(4)), ("lost", at(5))),
    )
    assert mart("nature_funnel", "stage", "step", "orders", "share_of_first", "median_days") == [
        (1, "application", 2, 1, None),
        (2, "feasibility", 2, 1, 2),  # 1 day and 3
        (3, "contract", 1, HALF, 4),
        (4, "connected", 1, HALF, 2),
    ]


def test_nature_cohorts_join_both_streams(warehouse: "Warehouse", mart: "Mart") -> None:
    created: dict[str, Any] = {"action": "lead_created", "result": "new"}
    monday = at(3, 2)
    warehouse.add_actions(
        *(created | {"lead_id": lead, "occurred_at": monday} for lead in ("A", "B", "C", "D")),
        created | {"lead_id": "late", "occurred_at": at(10)},
    )
    warehouse.add_steps(
        *_order("1", ("application", monday), ("connected", monday + timedelta(days=10)), lead_id="A"),
        *_order("2", ("application", monday), ("connected", monday + timedelta(days=20)), lead_id="B"),
        *_order("3", ("application", monday), ("lost", monday + timedelta(days=1)), lead_id="C"),
        *_order("4", ("application", monday), lead_id="C"),
    )
    columns = ("week", "leads", "ordered", "connected", "in_work", "lost", "median_days")
    assert mart("nature_cohorts", *columns) == [
        (date(2025, 2, 3), 4, 3, 2, 1, 0, 15),
        (date(2025, 3, 10), 1, 0, 0, 0, 0, None),
    ]
    shares = ("week", "conversion", "conversion_14", "conversion_28", "conversion_56", "monthly_revenue")
    # The week's last possible lead day is 9 February, 31 days before the report's last day.
    assert mart("nature_cohorts", *shares) == [
        (date(2025, 2, 3), HALF, 0.25, HALF, None, 1400),
        (date(2025, 3, 10), 0, None, None, None, 0),
    ]


def test_nature_losses(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_steps(
        *_order("A", ("lost", at(5)), lost_reason="Долг", units=2),
        *_order("B", ("lost", at(6))),
        *_order("C", ("lost", at(6, 2)), lost_reason="Долг"),
        *_order("D", ("lost", at(7, 2)), lost_reason="Долг"),
    )
    columns = ("reason", "orders", "share", "units", "monthly_revenue", "previous", "change")
    assert mart("nature_losses", *columns) == [
        ("Долг", 1, HALF, 2, 700, 2, -HALF.expected),
        ("Не указана", 1, HALF, 1, 700, 0, None),
    ]


def test_nature_ageing_and_stuck_orders(warehouse: "Warehouse", mart: "Mart") -> None:
    warehouse.add_steps(
        *_order("A", ("application", at(12))),
        *_order("B", ("application", at(1, 2)), ("contract", at(26, 2))),  # 14 days
        *_order("C", ("application", at(1, 2)), ("contract", at(25, 2))),  # 15 days
        *_order("D", ("application", at(1, 2)), ("connected", at(2, 2))),
    )
    columns = ("stage", "status", "orders", "days_3", "days_14", "days_30", "stuck", "stuck_revenue")
    assert mart("nature_ageing", *columns) == [
        (1, "application", 1, 1, 0, 0, 0, 0),
        (2, "feasibility", 0, 0, 0, 0, 0, 0),
        (3, "contract", 2, 0, 1, 1, 1, 700),
    ]
    assert mart("nature_stuck", "order_id", "status", "days") == [("C", "contract", 15)]
