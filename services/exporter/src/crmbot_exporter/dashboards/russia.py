"""The dashboard of all MRFs side by side: russia.xlsx."""

from crmbot_exporter.dashboards.plan_fact import BEFORE, CHANGE, MONTHLY, REVENUE, bullet
from crmbot_exporter.insights import russia_insights
from crmbot_exporter.layout import Chart, Column, Dashboard, KeyFigure, Kind, Series, Sheet, bars
from crmbot_exporter.theme import BLUE, GREEN, LIGHT_BLUE, ORANGE

_UNITS = Column("units", "Единицы", Kind.INTEGER, has_total=True)
_MRF = Column("mrf", "МРФ", width=140)

_MRFS = Sheet(
    mart="mrfs",
    name="МРФ",
    title="Сравнение МРФ",
    order="monthly_revenue DESC",
    columns=(
        _MRF,
        Column("day", "Отчёт по", Kind.DATE, 110),
        Column("leads", "Новые лиды", Kind.INTEGER, has_total=True),
        Column("orders", "Заявки", Kind.INTEGER, has_total=True),
        Column("conversion", "Заявок на новый лид", Kind.PERCENT, total_ratio=("orders", "leads")),
        _UNITS,
        *REVENUE,
        Column("stuck", "Зависшие заказы", Kind.INTEGER, has_total=True),
    ),
    charts=(
        bullet("mrf"),
        Chart("bar", "Новые лиды и заявки", "mrf", (Series("leads", LIGHT_BLUE), Series("orders", GREEN))),
    ),
    note="План по МРФ складывается из планов его филиалов. Зависшие заказы стоят на шаге больше 14 дней.",
)

_DAILY = Sheet(
    mart="daily",
    name="Динамика",
    title="Вся Россия по дням",
    order="day",
    columns=(
        Column("day", "Дата", Kind.DATE, 110),
        Column("actions", "Действия", Kind.INTEGER, has_total=True),
        Column("leads", "Новые лиды", Kind.INTEGER, has_total=True),
        Column("orders", "Заявки", Kind.INTEGER, has_total=True),
        Column("connected", "Подключено заказов", Kind.INTEGER, has_total=True),
        Column("units", "Подключено, ед.", Kind.INTEGER, has_total=True, has_bars=True),
        Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 130, has_total=True),
    ),
    charts=(
        Chart(
            "column",
            "Подключённые единицы и выручка в месяц",
            "day",
            (Series("units", LIGHT_BLUE), Series("monthly_revenue", GREEN, "line")),
            last=92,
        ),
        Chart(
            "column",
            "Новые лиды и заявки по дням",
            "day",
            (Series("leads", LIGHT_BLUE), Series("orders", ORANGE, "line")),
            last=92,
        ),
    ),
)

_BRANCHES = Sheet(
    mart="branches",
    name="Филиалы",
    title="Все филиалы: план и факт",
    order="monthly_revenue DESC",
    columns=(
        Column("branch", "Филиал", width=160),
        _MRF,
        _UNITS,
        *REVENUE,
    ),
    charts=(
        bars("Выручка в месяц, первые 15", "branch", "monthly_revenue", GREEN, top=15),
        bars("План выполнен, те же филиалы", "branch", "monthly_revenue_done", BLUE, top=15),
    ),
    chart_height=420,
)

_SERVICES = Sheet(
    mart="services",
    name="Услуги",
    title="Услуги: план и факт",
    order="monthly_revenue DESC",
    columns=(
        Column("service", "Услуга", width=160),
        _UNITS,
        *REVENUE,
    ),
    charts=(
        bullet("service", top=10),
        bars("Подключено, единиц", "service", "units", BLUE, top=10),
    ),
)

_MANAGERS = Sheet(
    mart="managers",
    name="Менеджеры",
    title="Первые 50 менеджеров по подключениям",
    order="place",
    columns=(
        Column("place", "Место", Kind.INTEGER, 60),
        Column("manager_name", "Менеджер", width=220),
        Column("branch", "Филиал", width=160),
        *(_MRF, _UNITS, MONTHLY, BEFORE, CHANGE),
    ),
    charts=(
        bars("Выручка в месяц, первые 15", "manager_name", "monthly_revenue", GREEN, top=15),
        bars("Подключено единиц, те же менеджеры", "manager_name", "units", BLUE, top=15),
    ),
    chart_height=420,
)

RUSSIA_DASHBOARD = Dashboard(
    name="russia",
    title="Вся Россия: МРФ рядом",
    summary="summary",
    figures=(
        KeyFigure("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, "monthly_revenue"),
        KeyFigure("units", "Подключено, единиц", Kind.INTEGER, "units"),
        KeyFigure("connected", "Подключено заказов", Kind.INTEGER, "connected"),
        KeyFigure("success", "Доля подключённых среди завершённых", Kind.PERCENT),
        KeyFigure("leads", "Новые лиды", Kind.INTEGER, "leads"),
        KeyFigure("orders", "Заявки", Kind.INTEGER, "orders"),
        KeyFigure("conversion", "Заявок на новый лид", Kind.PERCENT),
        KeyFigure("in_work_revenue", "В работе: выручка в месяц", Kind.ROUBLES),
    ),
    days="daily",
    insights=russia_insights,
    featured=("mrfs", "daily"),
    sheets=(_MRFS, _DAILY, _BRANCHES, _SERVICES, _MANAGERS),
)
