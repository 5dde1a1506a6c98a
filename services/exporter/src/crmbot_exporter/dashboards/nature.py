"""The dashboard of connected services («натура»): nature_<mrf>.xlsx."""

from dataclasses import replace

from crmbot_exporter.dashboards.data import NATURE_DATA
from crmbot_exporter.dashboards.plan_fact import BEFORE, CHANGE, MONTHLY, REVENUE, bullet
from crmbot_exporter.insights import nature_insights
from crmbot_exporter.layout import (
    Chart,
    Column,
    Dashboard,
    Drilldown,
    KeyFigure,
    Kind,
    Series,
    Sheet,
    Table,
    bars,
)
from crmbot_exporter.theme import BLUE, GREEN, GREY, INK, LIGHT_BLUE, ORANGE, RED, TEAL

_APPLICATIONS = Column("applications", "Новые заказы", Kind.INTEGER, has_total=True)
_CONNECTED = Column("connected", "Подключено заказов", Kind.INTEGER, has_total=True)
_LOST = Column("lost", "Потеряно заказов", Kind.INTEGER, has_total=True)
_UNITS = Column("units", "Подключено, ед.", Kind.INTEGER, has_total=True)
_UNITS_PLAN = Column("units_plan", "План, ед.", Kind.INTEGER, has_total=True)
_UNITS_DONE = Column(
    "units_done", "План по ед.", Kind.PERCENT, total_ratio=("units", "units_plan"), scale="plan"
)
_ONE_OFF = Column("one_off_revenue", "Разовая выручка", Kind.ROUBLES, 130, has_total=True)
_PLAN_FACT = (_UNITS, _UNITS_PLAN, _UNITS_DONE, *REVENUE)

_DAILY = Sheet(
    mart="nature_daily",
    name="Динамика",
    title="Подключения и выручка по дням",
    order="day",
    columns=(
        Column("day", "Дата", Kind.DATE, 110),
        _APPLICATIONS,
        _CONNECTED,
        _LOST,
        Column("units", "Подключено, ед.", Kind.INTEGER, has_total=True, has_bars=True),
        _ONE_OFF,
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
            "Новые и подключённые заказы по дням",
            "day",
            (Series("applications", LIGHT_BLUE), Series("connected", ORANGE, "line")),
            last=92,
        ),
    ),
)

_MONTH = Sheet(
    mart="nature_month",
    name="План и прогноз",
    title="Месяц нарастающим итогом: факт, план и прогноз",
    order="day",
    columns=(
        Column("day", "Дата", Kind.DATE, 110),
        Column("units", "Подключено, ед.", Kind.INTEGER),
        Column("monthly_revenue", "Факт: выручка в месяц", Kind.ROUBLES, 140),
        Column("plan", "План", Kind.ROUBLES, 140),
        Column("previous", "Месяцем раньше", Kind.ROUBLES, 140),
        Column("forecast", "Прогноз по темпу", Kind.ROUBLES, 140),
    ),
    charts=(
        Chart(
            "line",
            "Выручка в месяц от подключений, нарастающим итогом",
            "day",
            (
                Series("monthly_revenue", GREEN, "line"),
                Series("plan", INK, "dashes"),
                Series("previous", GREY, "line"),
                Series("forecast", ORANGE, "dashes"),
            ),
        ),
    ),
    chart_height=340,
    note="Прогноз: факт за прошедшие дни в пересчёте на весь месяц. План распределён по дням поровну; "
    "если он не загружен, он расчётный: прошлый месяц и ещё 10 %.",
)

_FUNNEL = Sheet(
    mart="nature_funnel",
    name="Воронка",
    title="Воронка: от заявки до подключения",
    order="stage",
    columns=(
        Column("step", "Шаг", width=160),
        Column("orders", "Заказы", Kind.INTEGER, has_bars=True),
        Column("share_of_first", "Доля от всех заказов", Kind.PERCENT),
        Column("share_of_last", "Доля от предыдущего шага", Kind.PERCENT),
        Column("median_days", "Дней от предыдущего шага, медиана", Kind.DECIMAL),
        Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 130),
        Column("margin", "Отступ", Kind.DECIMAL, is_shown=False),
    ),
    charts=(
        Chart(
            "funnel",
            "Сколько заказов дошло до шага",
            "step",
            (Series("margin", LIGHT_BLUE), Series("orders", BLUE)),
        ),
        Chart("column", "Дней от предыдущего шага, медиана", "step", (Series("median_days", TEAL),), skip=1),
    ),
    note="Заказы, поданные за 13 недель. Заказ учтён на самом дальнем своём шаге и на всех до него, "
    "даже если потом был потерян.",
)

_COHORTS = Sheet(
    mart="nature_cohorts",
    name="Когорты",
    title="От лида до подключения: что стало с лидами каждой недели",
    order="week",
    columns=(
        Column("week", "Неделя с", Kind.DATE, 100),
        Column("leads", "Лиды", Kind.INTEGER, 85, has_total=True, has_bars=True),
        Column("ordered", "С заказом", Kind.INTEGER, 85, has_total=True),
        Column("connected", "Подключены", Kind.INTEGER, 115, has_total=True),
        Column("in_work", "В работе", Kind.INTEGER, 85, has_total=True),
        Column("lost", "Потеряны", Kind.INTEGER, has_total=True),
        Column("conversion_14", "Подключены за 14 дней", Kind.PERCENT, 115, scale="heat"),
        Column("conversion_28", "За 28 дней", Kind.PERCENT, scale="heat"),
        Column("conversion_56", "За 56 дней", Kind.PERCENT, scale="heat"),
        Column("conversion", "На сегодня", Kind.PERCENT, total_ratio=("connected", "leads"), scale="heat"),
        Column("median_days", "Дней до подключения, медиана", Kind.DECIMAL, 120),
        Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 130, has_total=True),
    ),
    charts=(
        Chart(
            "stacked",
            "Заказы лидов каждой недели: где они сейчас",
            "week",
            (Series("connected", GREEN), Series("in_work", LIGHT_BLUE), Series("lost", RED)),
        ),
        Chart(
            "line",
            "Доля лидов, подключённых за 14 и за 28 дней",
            "week",
            (Series("conversion_14", LIGHT_BLUE, "line"), Series("conversion_28", BLUE, "line")),
        ),
    ),
    note="Доля за 14, 28 и 56 дней появляется, когда столько дней прошло для всех лидов недели.",
)

_SERVICES = Sheet(
    mart="nature_services",
    name="Услуги",
    title="План и факт по услугам",
    order="monthly_revenue DESC, service",
    columns=(Column("service", "Услуга", width=150), *_PLAN_FACT),
    charts=(
        bullet("service", top=10),
        bars("Подключено, единиц", "service", "units", BLUE, top=10),
    ),
)

_TARIFFS = Sheet(
    mart="nature_tariffs",
    name="Тарифы",
    title="План и факт по тарифам",
    order="monthly_revenue DESC, service, tariff",
    columns=(
        Column("tariff", "Тариф", width=160),
        Column("service", "Услуга", width=140),
        *_PLAN_FACT[:-2],
    ),
    charts=(
        bars("Выручка в месяц, первые 12", "tariff", "monthly_revenue", GREEN, top=12),
        bars("Подключено единиц, те же тарифы", "tariff", "units", BLUE, top=12),
    ),
    chart_height=360,
)

_BRANCHES = Sheet(
    mart="nature_branches",
    name="Филиалы",
    title="План и факт по филиалам",
    order="monthly_revenue DESC, branch",
    columns=(Column("branch", "Филиал", width=160), *_PLAN_FACT),
    charts=(
        bullet("branch", top=10),
        Chart(
            "bar",
            "Выручка в месяц: этот месяц и тот же срок месяцем раньше",
            "branch",
            (Series("monthly_revenue_previous", LIGHT_BLUE), Series("monthly_revenue", GREEN)),
            top=10,
        ),
    ),
    note="Название филиала ведёт на его лист.",
)

_BRANCH_DAYS = Sheet(
    mart="nature_branch_days",
    name="Филиалы по дням",
    title="Подключения филиалов по дням за 13 недель",
    order="branch, day",
    columns=(
        Column("branch", "Филиал", width=180),
        Column("day", "Дата", Kind.DATE),
        Column("applications", "Новые заказы", Kind.INTEGER),
        Column("connected", "Подключено заказов", Kind.INTEGER),
        Column("lost", "Потеряно заказов", Kind.INTEGER),
        Column("units", "Подключено, ед.", Kind.INTEGER),
        Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 130),
    ),
    charts=(),
)

_MANAGERS = Sheet(
    mart="nature_managers",
    name="Менеджеры",
    title="Рейтинг менеджеров по подключениям",
    order="place, manager_name, manager_id",
    columns=(
        Column("place", "Место", Kind.INTEGER, 60),
        Column("manager_name", "Менеджер", width=220),
        Column("branch", "Филиал", width=150),
        *(_APPLICATIONS, _CONNECTED, _UNITS, MONTHLY, BEFORE, CHANGE),
    ),
    charts=(
        bars("Выручка в месяц, первые 15", "manager_name", "monthly_revenue", GREEN, top=15),
        bars("Подключено единиц, те же менеджеры", "manager_name", "units", BLUE, top=15),
    ),
    chart_height=420,
)

_LOSSES = Sheet(
    mart="nature_losses",
    name="Потери",
    title="Почему теряются заказы",
    order="orders DESC, reason",
    columns=(
        Column("reason", "Причина", width=260),
        Column("orders", "Заказы", Kind.INTEGER, has_total=True, has_bars=True),
        Column("share", "Доля", Kind.PERCENT, has_total=True),
        Column("previous", "Заказы месяцем раньше", Kind.INTEGER, has_total=True),
        Column("share_previous", "Доля месяцем раньше", Kind.PERCENT, has_total=True),
        Column(
            "change", "К месяцу раньше", Kind.CHANGE, total_ratio=("orders", "previous"), is_growth_good=False
        ),
        Column("units", "Единицы", Kind.INTEGER, has_total=True),
        Column("monthly_revenue", "Упущенная выручка, в месяц", Kind.ROUBLES, 150, has_total=True),
    ),
    charts=(
        bars("Потерянные заказы по причинам", "reason", "orders", RED, top=12),
        bars("Упущенная выручка в месяц", "reason", "monthly_revenue", ORANGE, top=12),
    ),
)

_AGES = (
    ("days_3", "0–3 дня", GREEN),
    ("days_7", "4–7 дней", TEAL),
    ("days_14", "8–14 дней", LIGHT_BLUE),
    ("days_30", "15–30 дней", ORANGE),
    ("days_more", "31 день и больше", RED),
)

_AGEING = Sheet(
    mart="nature_ageing",
    name="Возраст заказов",
    title="Сколько заказы стоят на своём шаге",
    order="stage",
    columns=(
        Column("status", "Шаг", width=140),
        Column("orders", "В работе", Kind.INTEGER, has_total=True, has_bars=True),
        *(Column(name, title, Kind.INTEGER, has_total=True, scale="heat") for name, title, _ in _AGES),
        Column("stuck", "Зависли: больше 14 дней", Kind.INTEGER, has_total=True),
        Column("stuck_revenue", "Зависшая выручка, в месяц", Kind.ROUBLES, 130, has_total=True),
        Column("monthly_revenue", "В работе: выручка в месяц", Kind.ROUBLES, 130, has_total=True),
    ),
    charts=(
        Chart(
            "stacked",
            "Заказы в работе по шагам и возрасту",
            "status",
            tuple(Series(name, colour) for name, _, colour in _AGES),
        ),
        bars("Зависшая выручка в месяц по шагам", "status", "stuck_revenue", RED),
    ),
)

_STUCK_COLUMNS = (
    Column("manager_name", "Менеджер", width=220),
    Column("days", "Дней на шаге", Kind.INTEGER, 80, has_bars=True),
    Column("order_id", "Заказ", width=130),
    Column("status", "Шаг"),
    Column("status_day", "На шаге с", Kind.DATE),
    Column("client_id", "Клиент", width=130),
    Column("tariff", "Тариф", width=140),
    Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 120, has_total=True),
)

_STUCK = Sheet(
    mart="nature_stuck",
    name="Зависшие заказы",
    title="Зависшие заказы: больше 14 дней на одном шаге",
    order="days DESC, order_id",
    columns=(Column("branch", "Филиал", width=150), *_STUCK_COLUMNS),
    charts=(),
)

_FIGURES = (
    KeyFigure("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, "monthly_revenue"),
    KeyFigure("units", "Подключено, единиц", Kind.INTEGER, "units"),
)

NATURE_DASHBOARD = Dashboard(
    name="nature",
    title="Подключения услуг",
    summary="nature_summary",
    figures=(
        *_FIGURES,
        KeyFigure("connected", "Подключено заказов", Kind.INTEGER, "connected"),
        KeyFigure("success", "Доля подключённых среди завершённых", Kind.PERCENT),
        KeyFigure("applications", "Новые заказы", Kind.INTEGER, "applications"),
        KeyFigure("median_days", "Дней до подключения, медиана", Kind.DECIMAL, is_growth_good=False),
        KeyFigure("one_off_revenue", "Разовая выручка", Kind.ROUBLES, "one_off_revenue"),
        KeyFigure("in_work_revenue", "В работе: выручка в месяц", Kind.ROUBLES),
    ),
    days="nature_daily",
    insights=nature_insights,
    featured=("nature_month", "nature_branches"),
    sheets=(
        *(_MONTH, _DAILY, _BRANCHES, _BRANCH_DAYS, _SERVICES, _TARIFFS, _MANAGERS),
        *(_FUNNEL, _COHORTS, _AGEING, _STUCK, _LOSSES),
    ),
    drilldown=Drilldown(
        of="nature_branches",
        key="branch",
        figures=(
            *_FIGURES,
            KeyFigure("monthly_revenue_done", "План выполнен", Kind.PERCENT),
            KeyFigure("monthly_revenue_forecast", "Прогноз на месяц", Kind.ROUBLES),
        ),
        days="nature_branch_days",
        charts=_DAILY.charts,
        tables=(
            Table(
                mart="nature_branch_services",
                title="Услуги филиала: план и факт",
                order="branch, monthly_revenue DESC, service",
                columns=(
                    Column("service", "Услуга"),
                    replace(_UNITS, title="Единицы"),
                    *REVENUE,
                ),
            ),
            Table(
                mart="nature_managers",
                title="Менеджеры филиала",
                order=_MANAGERS.order,
                columns=(
                    Column("manager_name", "Менеджер"),
                    replace(_UNITS, title="Единицы"),
                    *(_APPLICATIONS, _CONNECTED, _ONE_OFF, MONTHLY, BEFORE, CHANGE),
                ),
            ),
            Table(
                mart="nature_stuck",
                title="Зависшие заказы филиала",
                order=_STUCK.order,
                columns=_STUCK_COLUMNS,
            ),
        ),
    ),
    data=NATURE_DATA,
)
