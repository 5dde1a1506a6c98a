"""The dashboard of managers' activity: actions_<mrf>.xlsx."""

from crmbot_exporter.dashboards.data import ACTIONS_DATA
from crmbot_exporter.insights import actions_insights
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
from crmbot_exporter.theme import BLUE, GREEN, LIGHT_BLUE, ORANGE, RED, TEAL, YELLOW

_ACTIONS = Column("actions", "Действия", Kind.INTEGER, has_total=True)
_LEADS = Column("leads", "Новые лиды", Kind.INTEGER, has_total=True)
_ORDERS = Column("orders", "Заявки", Kind.INTEGER, has_total=True, has_bars=True)
_CONVERSION = Column("conversion", "Заявок на новый лид", Kind.PERCENT, total_ratio=("orders", "leads"))
_REFUSALS = Column("refusals", "Отказы", Kind.INTEGER, has_total=True)
_POTENTIAL = Column("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES, 140, has_total=True)
_BEFORE = Column("orders_previous", "Заявки месяцем раньше", Kind.INTEGER, has_total=True)
_CHANGE = Column(
    "orders_change", "Заявки к месяцу раньше", Kind.CHANGE, total_ratio=("orders", "orders_previous")
)

_DAILY = Sheet(
    mart="actions_daily",
    name="Динамика",
    title="Активность по дням",
    order="day",
    columns=(
        Column("day", "Дата", Kind.DATE, 110),
        Column("actions", "Действия", Kind.INTEGER, has_total=True, has_bars=True),
        Column("managers", "Активные менеджеры", Kind.INTEGER),
        _LEADS,
        Column("orders", "Заявки", Kind.INTEGER, has_total=True),
        _REFUSALS,
        _POTENTIAL,
    ),
    charts=(
        Chart(
            "column",
            "Действия и новые лиды по дням",
            "day",
            (Series("actions", LIGHT_BLUE), Series("leads", ORANGE, "line")),
            last=92,
        ),
        Chart(
            "column",
            "Заявки и отказы по дням",
            "day",
            (Series("orders", GREEN), Series("refusals", RED, "line")),
            last=92,
        ),
    ),
)

_FUNNEL = Sheet(
    mart="actions_funnel",
    name="Воронка",
    title="Воронка: от лида до заявки",
    order="stage",
    columns=(
        Column("step", "Шаг", width=200),
        Column("leads", "Лиды", Kind.INTEGER, has_bars=True),
        Column("share_of_first", "Доля от всех лидов", Kind.PERCENT),
        Column("share_of_last", "Доля от предыдущего шага", Kind.PERCENT),
        Column("median_days", "Дней от предыдущего шага, медиана", Kind.DECIMAL),
        Column("potential", "Потенциал, в месяц", Kind.ROUBLES, 150),
        Column("margin", "Отступ", is_shown=False, kind=Kind.DECIMAL),
    ),
    charts=(
        Chart(
            "funnel",
            "Сколько лидов дошло до шага",
            "step",
            (Series("margin", LIGHT_BLUE), Series("leads", BLUE)),
        ),
        Chart("column", "Дней от предыдущего шага, медиана", "step", (Series("median_days", TEAL),), skip=1),
    ),
    note="Лиды, созданные за 13 недель. Лид учтён на самом дальнем своём шаге и на всех шагах до него.",
)

_BRANCHES = Sheet(
    mart="actions_branches",
    name="Филиалы",
    title="Сравнение филиалов",
    order="orders DESC, branch",
    columns=(
        Column("branch", "Филиал", width=180),
        Column("managers", "Менеджеры", Kind.INTEGER),
        _ACTIONS,
        _LEADS,
        _ORDERS,
        _BEFORE,
        _CHANGE,
        _CONVERSION,
        _REFUSALS,
        _POTENTIAL,
    ),
    charts=(
        Chart(
            "bar",
            "Новые лиды и заявки",
            "branch",
            (Series("leads", LIGHT_BLUE), Series("orders", GREEN)),
            top=12,
        ),
        Chart(
            "bar",
            "Заявки: этот месяц и тот же срок месяцем раньше",
            "branch",
            (Series("orders_previous", LIGHT_BLUE), Series("orders", GREEN)),
            top=12,
        ),
    ),
    note="Название филиала ведёт на его лист.",
)

_BRANCH_DAYS = Sheet(
    mart="actions_branch_days",
    name="Филиалы по дням",
    title="Активность филиалов по дням за 13 недель",
    order="branch, day",
    columns=(
        Column("branch", "Филиал", width=180),
        Column("day", "Дата", Kind.DATE),
        *(
            Column(name, title, Kind.INTEGER)
            for name, title in (("actions", "Действия"), ("leads", "Новые лиды"))
        ),
        *(
            Column(name, title, Kind.INTEGER)
            for name, title in (("orders", "Заявки"), ("refusals", "Отказы"))
        ),
        Column("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES, 140),
    ),
    charts=(),
)

_MANAGERS = Sheet(
    mart="actions_managers",
    name="Менеджеры",
    title="Рейтинг менеджеров",
    order="place, manager_name, manager_id",
    columns=(
        Column("place", "Место", Kind.INTEGER, 60),
        Column("manager_name", "Менеджер", width=220),
        Column("branch", "Филиал", width=150),
        _ACTIONS,
        _LEADS,
        _ORDERS,
        _BEFORE,
        _CHANGE,
        _CONVERSION,
        _POTENTIAL,
    ),
    charts=(
        bars("Заявки, первые 15", "manager_name", "orders", GREEN, top=15),
        bars("Потенциал заявок в месяц, те же менеджеры", "manager_name", "orders_potential", BLUE, top=15),
    ),
    chart_height=420,
)

_PRODUCTS = Sheet(
    mart="actions_products",
    name="Продукты",
    title="Лиды и заявки по продуктам",
    order="orders DESC, product",
    columns=(
        Column("product", "Продукт", width=200),
        _LEADS,
        _ORDERS,
        _BEFORE,
        _CHANGE,
        _CONVERSION,
        _REFUSALS,
        _POTENTIAL,
    ),
    charts=(
        Chart(
            "bar",
            "Новые лиды и заявки",
            "product",
            (Series("leads", LIGHT_BLUE), Series("orders", GREEN)),
            top=12,
        ),
        bars("Потенциал заявок в месяц", "product", "orders_potential", BLUE, top=12),
    ),
)

_REASONS = Sheet(
    mart="actions_refusals",
    name="Отказы",
    title="Причины отказов",
    order="refusals DESC, reason",
    columns=(
        Column("reason", "Причина", width=260),
        Column("refusals", "Отказы", Kind.INTEGER, has_total=True, has_bars=True),
        Column("share", "Доля", Kind.PERCENT, has_total=True),
        Column("previous", "Отказы месяцем раньше", Kind.INTEGER, has_total=True),
        Column("share_previous", "Доля месяцем раньше", Kind.PERCENT, has_total=True),
        Column(
            "change",
            "К месяцу раньше",
            Kind.CHANGE,
            total_ratio=("refusals", "previous"),
            is_growth_good=False,
        ),
        Column("potential", "Упущенный потенциал, в месяц", Kind.ROUBLES, 150, has_total=True),
    ),
    charts=(
        bars("Отказы по причинам", "reason", "refusals", RED, top=12),
        bars("Упущенный потенциал в месяц", "reason", "potential", ORANGE, top=12),
    ),
)

_WEEKDAYS = (
    ("monday", "Пн", "#1F4E8C"),
    ("tuesday", "Вт", BLUE),
    ("wednesday", "Ср", "#5C93D0"),
    ("thursday", "Чт", LIGHT_BLUE),
    ("friday", "Пт", "#BCD6F0"),
    ("saturday", "Сб", ORANGE),
    ("sunday", "Вс", YELLOW),
)

_HOURS = Sheet(
    mart="actions_hours",
    name="Часы работы",
    title="Когда менеджеры работают в боте",
    order="hour",
    columns=(
        Column("hour", "Час", width=90),
        *(Column(name, title, Kind.INTEGER, has_total=True, scale="heat") for name, title, _ in _WEEKDAYS),
        Column("total", "Вся неделя", Kind.INTEGER, 130, has_total=True, has_bars=True),
    ),
    charts=(
        Chart(
            "stacked",
            "Действия по часам и дням недели за 13 недель",
            "hour",
            tuple(Series(name, colour) for name, _, colour in _WEEKDAYS),
        ),
    ),
)

_FIGURES = (
    KeyFigure("leads", "Новые лиды", Kind.INTEGER, "leads"),
    KeyFigure("orders", "Заявки", Kind.INTEGER, "orders"),
    KeyFigure("conversion", "Заявок на новый лид", Kind.PERCENT),
    KeyFigure("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES, "orders_potential"),
)

ACTIONS_DASHBOARD = Dashboard(
    name="actions",
    title="Активность менеджеров",
    summary="actions_summary",
    figures=(
        *_FIGURES,
        KeyFigure("actions", "Действия", Kind.INTEGER, "actions"),
        KeyFigure("managers", "Активные менеджеры", Kind.INTEGER, "managers"),
        KeyFigure("actions_per_lead", "Действий на новый лид", Kind.DECIMAL),
        KeyFigure("refusals", "Отказы", Kind.INTEGER, "refusals", is_growth_good=False),
    ),
    days="actions_daily",
    insights=actions_insights,
    featured=("actions_daily", "actions_funnel"),
    sheets=(_DAILY, _FUNNEL, _BRANCHES, _BRANCH_DAYS, _MANAGERS, _PRODUCTS, _REASONS, _HOURS),
    drilldown=Drilldown(
        of="actions_branches",
        key="branch",
        figures=_FIGURES,
        days="actions_branch_days",
        charts=_DAILY.charts,
        tables=(
            Table(
                mart="actions_managers",
                title="Менеджеры филиала",
                order=_MANAGERS.order,
                columns=(
                    Column("manager_name", "Менеджер"),
                    *(_ACTIONS, _LEADS, _ORDERS, _BEFORE, _CHANGE, _CONVERSION, _POTENTIAL),
                ),
            ),
        ),
    ),
    data=ACTIONS_DATA,
)
