"""Plan, fact and forecast of monthly revenue: columns and a chart shared by several sheets."""

from crmbot_exporter.layout import Chart, Column, Kind, Series
from crmbot_exporter.theme import GREEN, INK, PALE

MONTHLY = Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 130, has_total=True, has_bars=True)
PLAN = Column("monthly_revenue_plan", "План выручки в месяц", Kind.ROUBLES, 130, has_total=True)
DONE = Column(
    "monthly_revenue_done",
    "План выполнен",
    Kind.PERCENT,
    total_ratio=("monthly_revenue", "monthly_revenue_plan"),
    scale="plan",
)
FORECAST = Column("monthly_revenue_forecast", "Прогноз на месяц", Kind.ROUBLES, 130, has_total=True)
BEFORE = Column("monthly_revenue_previous", "Выручка месяцем раньше", Kind.ROUBLES, 130, has_total=True)
CHANGE = Column(
    "monthly_revenue_change",
    "К месяцу раньше",
    Kind.CHANGE,
    total_ratio=("monthly_revenue", "monthly_revenue_previous"),
)
REVENUE = (MONTHLY, PLAN, DONE, FORECAST, BEFORE, CHANGE)


def bullet(category: str, top: int | None = None) -> Chart:
    """Return a chart of fact over forecast, with plan marks, for the first `top` categories or all."""
    return Chart(
        "bullet",
        "Выручка в месяц: факт, прогноз и план",
        category,
        (
            Series("monthly_revenue_forecast", PALE),
            Series("monthly_revenue", GREEN),
            Series("monthly_revenue_plan", INK, "mark"),
        ),
        top=top,
    )
