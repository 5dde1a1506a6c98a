"""The dashboard of managers' activity: actions_<mrf>.xlsx."""

from crmbot_exporter.dashboards.data import ACTIONS_DATA
from crmbot_exporter.layout import Chart, Column, Dashboard, KeyFigure, Kind, Series, Sheet, bars
from crmbot_exporter.theme import BLUE, GREEN, LIGHT_BLUE, ORANGE, RED, TEAL, YELLOW

_DAILY = Sheet(
    mart="actions_daily",
    name="Динамика",
    title="Активность по дням",
    order="day",
    columns=(
        Column("day", "Дата", Kind.DATE, 110),
        Column("actions", "Действия", Kind.INTEGER, has_total=True, has_bars=True),
        Column("managers", "Активные менеджеры", Kind.INTEGER),
        Column("leads", "Новые лиды", Kind.INTEGER, has_total=True),
        Column("orders", "Оформленные заявки", Kind.INTEGER, has_total=True),
        Column("refusals", "Отказы", Kind.INTEGER, has_total=True),
        Column("leads_potential", "Потенциал новых лидов, в месяц", Kind.ROUBLES, 140, has_total=True),
        Column("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES, 140, has_total=True),
    ),
    charts=(
        Chart(
            "column",
            "Действия и новые лиды по дням",
            "day",
            (Series("actions", LIGHT_BLUE), Series("leads", ORANGE, is_line=True)),
            last=92,
        ),
        Chart(
            "column",
            "Оформленные заявки и отказы по дням",
            "day",
            (Series("orders", GREEN), Series("refusals", RED, is_line=True)),
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
        Column("potential", "Потенциал, в месяц", Kind.ROUBLES, 150),
    ),
    charts=(
        bars("Сколько лидов дошло до шага", "step", "leads", BLUE),
        Chart("column", "Доля от предыдущего шага", "step", (Series("share_of_last", TEAL),), skip=1),
    ),
    note="Лид учтён на самом дальнем своём шаге и на всех шагах до него.",
)

_RESULTS = Sheet(
    mart="actions_results",
    name="Результаты",
    title="Чем заканчиваются действия",
    order="actions DESC, result",
    columns=(
        Column("result", "Результат", width=200),
        Column("actions", "Действия", Kind.INTEGER, has_total=True, has_bars=True),
        Column("share", "Доля", Kind.PERCENT, has_total=True),
        Column("leads", "Лиды с таким результатом", Kind.INTEGER),
    ),
    charts=(
        Chart("doughnut", "Структура результатов", "result", (Series("actions", BLUE),)),
        bars("Лиды, у которых был такой результат", "result", "leads", BLUE),
    ),
)

_BRANCHES = Sheet(
    mart="actions_branches",
    name="Филиалы",
    title="Сравнение филиалов",
    order="orders DESC, branch",
    columns=(
        Column("branch", "Филиал", width=180),
        Column("managers", "Менеджеры", Kind.INTEGER),
        Column("actions", "Действия", Kind.INTEGER, has_total=True),
        Column("leads", "Лиды", Kind.INTEGER, has_total=True),
        Column("orders", "Лиды с заявкой", Kind.INTEGER, has_total=True, has_bars=True),
        Column("conversion", "Конверсия", Kind.PERCENT, total_ratio=("orders", "leads")),
        Column("refusals", "Отказы", Kind.INTEGER, has_total=True),
        Column("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES, 140, has_total=True),
    ),
    charts=(
        Chart(
            "bar",
            "Лиды и лиды с заявкой",
            "branch",
            (Series("leads", LIGHT_BLUE), Series("orders", GREEN)),
            top=12,
        ),
        bars("Конверсия лидов в заявки", "branch", "conversion", TEAL, top=12),
    ),
)

_MANAGERS = Sheet(
    mart="actions_managers",
    name="Менеджеры",
    title="Рейтинг менеджеров",
    order="place, manager_name, manager_id",
    columns=(
        Column("place", "Место", Kind.INTEGER, 60),
        Column("manager_name", "Менеджер", width=220),
        Column("branch", "Филиал", width=140),
        Column("actions", "Действия", Kind.INTEGER, has_total=True),
        Column("leads", "Лиды", Kind.INTEGER, has_total=True),
        Column("orders", "Лиды с заявкой", Kind.INTEGER, has_total=True, has_bars=True),
        Column("conversion", "Конверсия", Kind.PERCENT, total_ratio=("orders", "leads")),
        Column("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES, 140, has_total=True),
    ),
    charts=(
        bars("Лиды с заявкой, первые 15", "manager_name", "orders", GREEN, top=15),
        bars("Потенциал заявок в месяц, те же менеджеры", "manager_name", "orders_potential", BLUE, top=15),
    ),
    chart_height=420,
)

_PRODUCTS = Sheet(
    mart="actions_products",
    name="Продукты",
    title="Какие продукты интересуют лидов",
    order="leads DESC, product",
    columns=(
        Column("product", "Продукт", width=220),
        Column("leads", "Лиды", Kind.INTEGER, has_total=True, has_bars=True),
        Column("orders", "Лиды с заявкой", Kind.INTEGER, has_total=True),
        Column("conversion", "Конверсия", Kind.PERCENT, total_ratio=("orders", "leads")),
        Column("potential", "Потенциал лидов, в месяц", Kind.ROUBLES, 140, has_total=True),
        Column("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES, 140, has_total=True),
    ),
    charts=(
        Chart(
            "bar",
            "Лиды и лиды с заявкой",
            "product",
            (Series("leads", LIGHT_BLUE), Series("orders", GREEN)),
            top=12,
        ),
        bars("Потенциал заявок в месяц", "product", "orders_potential", BLUE, top=12),
    ),
)

_REFUSALS = Sheet(
    mart="actions_refusals",
    name="Отказы",
    title="Причины отказов",
    order="leads DESC, reason",
    columns=(
        Column("reason", "Причина", width=260),
        Column("leads", "Лиды", Kind.INTEGER, has_total=True, has_bars=True),
        Column("share", "Доля", Kind.PERCENT, has_total=True),
        Column("potential", "Упущенный потенциал, в месяц", Kind.ROUBLES, 150, has_total=True),
    ),
    charts=(
        bars("Лиды по причинам отказа", "reason", "leads", RED, top=12),
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
        *(Column(name, title, Kind.INTEGER, has_total=True, has_scale=True) for name, title, _ in _WEEKDAYS),
        Column("total", "Вся неделя", Kind.INTEGER, 130, has_total=True, has_bars=True),
    ),
    charts=(
        Chart(
            "stacked",
            "Действия по часам и дням недели",
            "hour",
            tuple(Series(name, colour) for name, _, colour in _WEEKDAYS),
        ),
    ),
)

ACTIONS_DASHBOARD = Dashboard(
    stream="actions",
    title="Активность менеджеров",
    summary="actions_summary",
    key_figures=(
        KeyFigure("rows_total", "Действия", Kind.INTEGER),
        KeyFigure("leads", "Лиды", Kind.INTEGER),
        KeyFigure("orders", "Лиды с заявкой", Kind.INTEGER),
        KeyFigure("conversion", "Конверсия в заявку", Kind.PERCENT),
        KeyFigure("managers", "Менеджеры", Kind.INTEGER),
        KeyFigure("actions_per_lead", "Действий на лид", Kind.DECIMAL),
        KeyFigure("refusals", "Лиды с отказом", Kind.INTEGER),
        KeyFigure("orders_potential", "Потенциал заявок, в месяц", Kind.ROUBLES),
    ),
    featured=("actions_daily", "actions_funnel"),
    sheets=(_DAILY, _FUNNEL, _RESULTS, _BRANCHES, _MANAGERS, _PRODUCTS, _REFUSALS, _HOURS),
    data=ACTIONS_DATA,
)
