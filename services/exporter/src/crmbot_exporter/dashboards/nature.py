"""The dashboard of connected services («натура»): nature_<mrf>.xlsx."""

from crmbot_exporter.dashboards.data import NATURE_DATA
from crmbot_exporter.layout import Chart, Column, Dashboard, KeyFigure, Kind, Series, Sheet, bars
from crmbot_exporter.theme import BLUE, GREEN, LIGHT_BLUE, ORANGE, RED, TEAL

_CONVERSION = Column("conversion", "Конверсия", Kind.PERCENT, total_ratio=("connected", "orders"))
_UNITS = Column("units", "Подключено, ед.", Kind.INTEGER, has_total=True, has_bars=True)
_ONE_OFF = Column("one_off_revenue", "Разовая выручка", Kind.ROUBLES, 130, has_total=True)
_MONTHLY = Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 130, has_total=True)
_ORDERS = Column("orders", "Заказы", Kind.INTEGER, has_total=True)
_CONNECTED = Column("connected", "Подключено заказов", Kind.INTEGER, has_total=True)
_SOLD = (_ORDERS, _CONNECTED, _CONVERSION, _UNITS, _ONE_OFF, _MONTHLY)

_DAILY = Sheet(
    mart="nature_daily",
    name="Динамика",
    title="Подключения и выручка по дням",
    order="day",
    columns=(
        Column("day", "Дата", Kind.DATE, 110),
        Column("applications", "Новые заказы", Kind.INTEGER, has_total=True),
        _CONNECTED,
        Column("lost", "Потеряно заказов", Kind.INTEGER, has_total=True),
        _UNITS,
        _ONE_OFF,
        _MONTHLY,
    ),
    charts=(
        Chart(
            "column",
            "Подключённые единицы и выручка в месяц",
            "day",
            (Series("units", LIGHT_BLUE), Series("monthly_revenue", GREEN, is_line=True)),
            last=92,
        ),
        Chart(
            "column",
            "Новые и подключённые заказы по дням",
            "day",
            (Series("applications", LIGHT_BLUE), Series("connected", ORANGE, is_line=True)),
            last=92,
        ),
    ),
)

_STATUSES = Sheet(
    mart="nature_statuses",
    name="Статусы",
    title="Где заказы сейчас",
    order="stage",
    columns=(
        Column("status", "Статус", width=160),
        Column("orders", "Заказы", Kind.INTEGER, has_total=True, has_bars=True),
        Column("share", "Доля", Kind.PERCENT, has_total=True),
        Column("units", "Единицы", Kind.INTEGER, has_total=True),
        _ONE_OFF,
        _MONTHLY,
    ),
    charts=(
        Chart("doughnut", "Заказы по статусам", "status", (Series("orders", BLUE),)),
        bars("Выручка в месяц по статусам", "status", "monthly_revenue", BLUE),
    ),
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
        Column("median_days", "Дней от заявки, медиана", Kind.DECIMAL),
        Column("monthly_revenue", "Выручка в месяц", Kind.ROUBLES, 130),
    ),
    charts=(
        bars("Сколько заказов дошло до шага", "step", "orders", BLUE),
        Chart("column", "Дней от заявки до шага, медиана", "step", (Series("median_days", TEAL),), skip=1),
    ),
    note="Заказ учтён на самом дальнем своём шаге и на всех шагах до него, даже если потом был потерян.",
)

_COHORTS = Sheet(
    mart="nature_conversion",
    name="Конверсия",
    title="Что стало с заказами каждого дня",
    order="day",
    columns=(
        Column("day", "Дата заявки", Kind.DATE, 110),
        Column("applications", "Заказы", Kind.INTEGER, has_total=True, has_bars=True),
        Column("feasibility", "Дошли до техпроверки", Kind.INTEGER, has_total=True),
        Column("contract", "Дошли до договора", Kind.INTEGER, has_total=True),
        Column("connected", "Подключены", Kind.INTEGER, has_total=True),
        Column("in_work", "В работе", Kind.INTEGER, has_total=True),
        Column("lost", "Потеряны", Kind.INTEGER, has_total=True),
        Column("conversion", "Конверсия", Kind.PERCENT, total_ratio=("connected", "applications")),
    ),
    charts=(
        Chart(
            "stacked",
            "Где сейчас заказы, поданные в этот день",
            "day",
            (Series("connected", GREEN), Series("in_work", LIGHT_BLUE), Series("lost", RED)),
            last=92,
        ),
    ),
    note="У последних дней конверсия ещё вырастет: часть их заказов в работе.",
)

_SERVICES = Sheet(
    mart="nature_services",
    name="Услуги",
    title="Подключения по услугам",
    order="units DESC, service",
    columns=(
        Column("service", "Услуга", width=200),
        *_SOLD,
    ),
    charts=(
        bars("Подключено, единиц", "service", "units", BLUE, top=12),
        bars("Выручка в месяц", "service", "monthly_revenue", GREEN, top=12),
    ),
)

_TARIFFS = Sheet(
    mart="nature_tariffs",
    name="Тарифы",
    title="Подключения по тарифам",
    order="units DESC, service, tariff",
    columns=(
        Column("tariff", "Тариф", width=180),
        Column("service", "Услуга", width=160),
        *_SOLD,
    ),
    charts=(
        bars("Подключено, единиц, первые 12", "tariff", "units", BLUE, top=12),
        bars("Выручка в месяц, те же тарифы", "tariff", "monthly_revenue", GREEN, top=12),
    ),
    chart_height=360,
)

_BRANCHES = Sheet(
    mart="nature_branches",
    name="Филиалы",
    title="Сравнение филиалов",
    order="monthly_revenue DESC, branch",
    columns=(
        Column("branch", "Филиал", width=180),
        _ORDERS,
        _CONNECTED,
        Column("in_work", "В работе", Kind.INTEGER, has_total=True),
        Column("lost", "Потеряно", Kind.INTEGER, has_total=True),
        _CONVERSION,
        _UNITS,
        _ONE_OFF,
        _MONTHLY,
    ),
    charts=(
        bars("Подключено, единиц", "branch", "units", BLUE, top=12),
        bars("Выручка в месяц", "branch", "monthly_revenue", GREEN, top=12),
    ),
)

_MANAGERS = Sheet(
    mart="nature_managers",
    name="Менеджеры",
    title="Рейтинг менеджеров по подключениям",
    order="place, manager_name, manager_id",
    columns=(
        Column("place", "Место", Kind.INTEGER, 60),
        Column("manager_name", "Менеджер", width=220),
        Column("branch", "Филиал", width=140),
        *_SOLD,
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
        Column("units", "Единицы", Kind.INTEGER, has_total=True),
        Column("monthly_revenue", "Упущенная выручка, в месяц", Kind.ROUBLES, 150, has_total=True),
    ),
    charts=(
        bars("Потерянные заказы по причинам", "reason", "orders", RED, top=12),
        bars("Упущенная выручка в месяц", "reason", "monthly_revenue", ORANGE, top=12),
    ),
)

NATURE_DASHBOARD = Dashboard(
    stream="nature",
    title="Подключения услуг",
    summary="nature_summary",
    key_figures=(
        KeyFigure("orders", "Заказы", Kind.INTEGER),
        KeyFigure("connected", "Подключено заказов", Kind.INTEGER),
        KeyFigure("conversion", "Конверсия в подключение", Kind.PERCENT),
        KeyFigure("median_days", "Дней до подключения, медиана", Kind.DECIMAL),
        KeyFigure("units", "Подключено, единиц", Kind.INTEGER),
        KeyFigure("monthly_revenue", "Выручка в месяц", Kind.ROUBLES),
        KeyFigure("one_off_revenue", "Разовая выручка", Kind.ROUBLES),
        KeyFigure("in_work_revenue", "В работе: выручка в месяц", Kind.ROUBLES),
    ),
    featured=("nature_daily", "nature_statuses"),
    sheets=(
        *(_DAILY, _STATUSES, _FUNNEL, _COHORTS, _SERVICES),
        *(_TARIFFS, _BRANCHES, _MANAGERS, _LOSSES),
    ),
    data=NATURE_DATA,
)
