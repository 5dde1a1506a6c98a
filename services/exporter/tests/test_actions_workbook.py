"""actions_mrf1.xlsx shows what the rows in the warehouse say, computed here a second time without SQL."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
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

ZONE = ZoneInfo("Asia/Yekaterinburg")
MEETINGS = ("meeting", "presentation")


def _stage(row: "Record") -> int:
    if row["result"] == "order_placed":
        return 5
    if row["action"] == "offer":
        return 4
    if row["action"] in MEETINGS:
        return 3
    return 2 if row["action"] in ("call", "message") and row["result"] != "no_answer" else 1


class Expected:
    """The leads and sums of a list of actions."""

    def __init__(self, rows: "Sequence[Record]") -> None:
        self.rows = rows
        self.last = {row["lead_id"]: row for row in sorted(rows, key=lambda row: row["transaction_id"])}
        self.stage: Counter[str] = Counter()
        for row in rows:
            self.stage[row["lead_id"]] = max(self.stage[row["lead_id"]], _stage(row))

    def leads(self, **values: object) -> list[str]:
        """Leads whose last row has these values."""
        return [lead for lead, row in self.last.items() if values.items() <= row.items()]

    def ordered(self, **values: object) -> list[str]:
        return [lead for lead in self.leads(**values) if self.stage[lead] == 5]

    def potential(self, leads: Sequence[str]) -> Any:  # noqa: ANN401  (pytest's approx)
        return pytest.approx(sum(float(self.last[lead]["potential_revenue"]) for lead in leads))


def _day(row: "Record") -> datetime:
    return datetime.combine(row["occurred_at"].astimezone(ZONE).date(), datetime.min.time())


@pytest.fixture
def expected(random_actions: "list[Record]") -> Expected:
    return Expected(random_actions)


@pytest.fixture
def path(warehouse: "Warehouse", expected: Expected, tmp_path: Path) -> Path:
    settings = warehouse.settings(tmp_path, timezone=ZONE.key)
    return export_stream(settings, DASHBOARDS["actions"], structlog.get_logger())


def test_summary(path: Path, expected: Expected) -> None:
    cells = list(openpyxl.load_workbook(path)["Сводка"].iter_rows(values_only=True))
    figures = {
        title: value
        for titles, values in ((cells[3], cells[4]), (cells[6], cells[7]))
        for title, value in zip(titles, values, strict=True)
        if title
    }
    leads, ordered = expected.leads(), expected.ordered()
    assert figures == {
        "Действия": 300,
        "Лиды": len(leads),
        "Лиды с заявкой": len(ordered),
        "Конверсия в заявку": pytest.approx(len(ordered) / len(leads)),
        "Менеджеры": 7,
        "Действий на лид": pytest.approx(300 / len(leads)),
        "Лиды с отказом": len(expected.leads(result="refused")),
        "Потенциал заявок, в месяц": expected.potential(ordered),
    }
    days = sorted(map(_day, expected.rows))
    period = f"период: {days[0]:%d.%m.%Y} – {days[-1]:%d.%m.%Y}"
    assert cells[1][0] == f"МРФ «Центр»  ·  {period}  ·  данные на 20.03.2025 14:30 (Asia/Yekaterinburg)"


def test_daily(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    by_day = defaultdict(list)
    for row in expected.rows:
        by_day[_day(row)].append(row)
    first, last = min(by_day), max(by_day)
    wanted = []
    for day in (first + timedelta(days=number) for number in range((last - first).days + 1)):
        rows = by_day[day]
        created = [row for row in rows if row["action"] == "lead_created"]
        ordered = [row for row in rows if row["result"] == "order_placed"]
        wanted.append(
            (
                *(day, len(rows), len({row["manager_id"] for row in rows}), len(created), len(ordered)),
                sum(row["result"] == "refused" for row in rows),
                pytest.approx(sum(float(row["potential_revenue"]) for row in created)),
                pytest.approx(sum(float(row["potential_revenue"]) for row in ordered)),
            )
        )
    assert read_table(path, "Динамика", "Дата") == wanted


def test_funnel(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    reached = [[lead for lead in expected.last if expected.stage[lead] >= step] for step in range(1, 6)]
    steps = ("lead", "contact", "meeting", "offer", "order")
    wanted = [
        (
            label("step", step),
            len(leads),
            pytest.approx(len(leads) / len(expected.last)),
            pytest.approx(len(leads) / len(reached[number - 1])) if number else None,
            expected.potential(leads),
        )
        for number, (step, leads) in enumerate(zip(steps, reached, strict=True))
    ]
    assert read_table(path, "Воронка", "Шаг") == wanted


def test_results(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    actions = Counter(row["result"] for row in expected.rows)
    wanted = [
        (
            label("result", result),
            count,
            pytest.approx(count / 300),
            len({row["lead_id"] for row in expected.rows if row["result"] == result}),
        )
        for result, count in sorted(actions.items(), key=lambda item: (-item[1], item[0]))
    ]
    assert read_table(path, "Результаты", "Результат") == wanted


def test_branches(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    wanted = []
    for branch in {row["branch"] for row in expected.rows}:
        rows = [row for row in expected.rows if row["branch"] == branch]
        leads, ordered = expected.leads(branch=branch), expected.ordered(branch=branch)
        managers = len({row["manager_id"] for row in rows})
        refused = len(expected.leads(branch=branch, result="refused"))
        counts = managers, len(rows), len(leads), len(ordered)
        conversion = pytest.approx(len(ordered) / len(leads))
        wanted.append((branch, *counts, conversion, refused, expected.potential(ordered)))
    wanted.sort(key=lambda row: (-row[4], row[0]))
    assert read_table(path, "Филиалы", "Филиал") == wanted


def test_managers(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    table = read_table(path, "Менеджеры", "Место")
    assert [row[0] for row in table] == list(range(1, 8))
    assert [(row[5], row[7]) for row in table] == sorted(((row[5], row[7]) for row in table), reverse=True)
    for _, name, branch, actions, leads, orders, conversion, potential in table:
        manager = {"manager_name": name, "branch": branch}
        assert actions == sum(manager.items() <= row.items() for row in expected.rows)
        assert leads == len(expected.leads(**manager))
        assert orders == len(expected.ordered(**manager))
        assert conversion == pytest.approx(orders / leads)
        assert potential == expected.potential(expected.ordered(**manager))


def test_products(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    wanted = []
    for product in {row["product"] for row in expected.last.values()}:
        leads, ordered = expected.leads(product=product), expected.ordered(product=product)
        conversion = pytest.approx(len(ordered) / len(leads))
        potentials = expected.potential(leads), expected.potential(ordered)
        wanted.append((product, len(leads), len(ordered), conversion, *potentials))
    assert read_table(path, "Продукты", "Продукт") == sorted(wanted, key=lambda row: (-row[1], row[0]))


def test_refusals(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    refused = expected.leads(result="refused")
    wanted = []
    for reason in {expected.last[lead]["refusal_reason"] for lead in refused}:
        leads = expected.leads(result="refused", refusal_reason=reason)
        wanted.append(
            (reason, len(leads), pytest.approx(len(leads) / len(refused)), expected.potential(leads))
        )
    assert read_table(path, "Отказы", "Причина") == sorted(wanted, key=lambda row: (-row[1], row[0]))


def test_hours(path: Path, expected: Expected, read_table: "ReadTable") -> None:
    times = [row["occurred_at"].astimezone(ZONE) for row in expected.rows]
    counts = Counter((time.hour, time.weekday()) for time in times)
    wanted = [
        (
            f"{hour:02}:00",
            *(counts[hour, day] for day in range(7)),
            sum(counts[hour, day] for day in range(7)),
        )
        for hour in range(24)
    ]
    assert read_table(path, "Часы работы", "Час") == wanted


def test_totals_are_formulas_that_agree_with_the_rows(path: Path, expected: Expected) -> None:
    sheets = openpyxl.load_workbook(path), openpyxl.load_workbook(path, data_only=True)
    (formulas, values) = (list(book["Филиалы"].iter_rows(values_only=True))[-1] for book in sheets)
    assert formulas[2] == "=SUM(C21:C23)"
    assert values[2] == 300
    assert formulas[5] == '=IFERROR(E24/D24,"")'
    assert values[5] == pytest.approx(len(expected.ordered()) / len(expected.last))
