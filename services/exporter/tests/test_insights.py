"""The Russian sentences match the figures."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import structlog

from crmbot_exporter import russian
from crmbot_exporter.insights import nature_insights
from crmbot_exporter.report import Days, Report

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Warehouse

REPORT = Report(
    "mrf1",
    ZoneInfo("Europe/Moscow"),
    Days(
        date(2026, 10, 12),
        date(2026, 10, 1),
        date(2026, 10, 31),
        date(2026, 9, 1),
        date(2026, 9, 12),
        date(2026, 7, 20),
        12,
        31,
        datetime(2026, 10, 12, 21, tzinfo=UTC),
    ),
)


def _frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype=object)


def _frames(now: int, before: int) -> dict[str, pd.DataFrame]:
    return {
        "nature_summary": _frame(
            period=["current", "previous"], monthly_revenue=[Decimal(now), Decimal(before)]
        ),
        "nature_month": _frame(
            plan=[50.0, 2_000_000.0],
            monthly_revenue=[Decimal(now), None],
            forecast=[None, 1.5e6],
            is_plan_derived=[True, True],
        ),
        "nature_branches": _frame(
            branch=["Тула", "Тверь"],
            monthly_revenue=[Decimal(300_000), Decimal(100_000)],
            monthly_revenue_previous=[Decimal(200_000), Decimal(125_000)],
            monthly_revenue_done=[0.9, 0.4],
        ),
        "nature_managers": _frame(manager_name=["Анна"], branch=["Тула"], monthly_revenue=[Decimal(250_000)]),
        "nature_losses": _frame(reason=["Долг"], orders=[3], share=[0.75], share_previous=[0.055]),
        "nature_stuck": _frame(branch=["Тула"] * 2, monthly_revenue=[Decimal(700)] * 2),
    }


def test_sales() -> None:
    sentences = [text.replace("\xa0", " ") for text in nature_insights(REPORT, _frames(1_500_000, 1_200_000))]
    assert sentences == [
        "За 1–12 октября 2026 подключено на 1,5 млн ₽ в месяц: на 25 % больше, чем за 1–12 сентября.",
        "Расчётный план месяца выполнен на 75 %, прошло 39 % его дней; при таком темпе "
        "месяц закончится на 75 % плана; "
        "дальше всех от плана Тверь: 40 %.",
        "По выручке в месяц сильнее всех вырос Тула: +100 тыс. ₽ (50 %), сильнее всех упал Тверь: "
        "−25,0 тыс. ₽ (20 %).",
        "Первый в рейтинге менеджеров – Анна (Тула): 250 тыс. ₽ в месяц.",
        "Чаще всего теряются заказы по причине «Долг»: 75 % потерь (месяцем раньше 5,5 %).",
        "Больше 14 дней на одном шаге стоят 2 заказа на 1,4 тыс. ₽ в месяц; больше всего – Тула: 2.",
    ]


@pytest.mark.parametrize(
    ("now", "before", "ending"),
    [
        (0, 0, "месяцем раньше не было ничего."),
        (100, 0, "месяцем раньше не было ничего."),
        (100, 100, "столько же, сколько за 1–12 сентября."),
        (90, 100, "на 10 % меньше, чем за 1–12 сентября."),
        (0, 100, "на 100 % меньше, чем за 1–12 сентября."),
    ],
)
def test_comparisons_at_edge_values(now: int, before: int, ending: str) -> None:
    assert nature_insights(REPORT, _frames(now, before))[0].replace("\xa0", " ").endswith(ending)


def test_without_activity_there_are_few_sentences(warehouse: "Warehouse", tmp_path: Path) -> None:
    from crmbot_exporter.dashboards import DASHBOARDS
    from crmbot_exporter.export import export

    # A lead, but no order: no branch moved, nobody leads, nothing is lost or stuck.
    warehouse.add_actions({})
    assert len(export(warehouse.settings(tmp_path), list(DASHBOARDS.values()), structlog.get_logger())) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (950, "950 ₽"),
        (1_250, "1,2 тыс. ₽"),
        (250_000, "250 тыс. ₽"),
        (1_260_000, "1,3 млн ₽"),
        (2.4e9, "2,4 млрд ₽"),
    ],
)
def test_amounts_are_abbreviated(value: float, text: str) -> None:
    assert russian.roubles(value).replace("\xa0", " ") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1 заказ"),
        (2, "2 заказа"),
        (5, "5 заказов"),
        (11, "11 заказов"),
        (21, "21 заказ"),
        (1_004, "1 004 заказа"),
    ],
)
def test_plural_forms(number: int, text: str) -> None:
    assert russian.counted(number, "заказ", "заказа", "заказов").replace("\xa0", " ") == text
