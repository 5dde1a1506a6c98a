"""Every figure of both workbooks, read back with openpyxl, equals the one computed without SQL."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
import structlog

from crmbot_exporter.cards import change
from crmbot_exporter.dashboards import DASHBOARDS
from crmbot_exporter.export import export
from crmbot_exporter.labels import label
from crmbot_exporter.layout import Column, KeyFigure, Kind, Table
from services.exporter.tests import expected

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Record, Warehouse

pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning:openpyxl")

Books = tuple[dict[str, Any], expected.Marts]  # both workbooks, and the marts expected in them

ZONE = ZoneInfo("Asia/Vladivostok")
DAYS = (None, date(2025, 2, 28), date(2025, 3, 11))  # the newest row's; the end of a month; within a month
SHEETS = [(name, sheet) for name, dashboard in DASHBOARDS.items() for sheet in dashboard.sheets]


@pytest.fixture(scope="module", params=DAYS, ids=str)
def books(
    request: pytest.FixtureRequest,
    filled: "tuple[Warehouse, list[Record], list[Record]]",
    tmp_path_factory: pytest.TempPathFactory,
) -> Books:
    warehouse, actions, steps = filled
    folder = tmp_path_factory.mktemp("workbooks")
    settings = warehouse.settings(folder, timezone=ZONE.key, report_day=request.param)
    paths = export(settings, list(DASHBOARDS.values()), structlog.get_logger())
    books = {path.stem.removesuffix("_mrf1"): openpyxl.load_workbook(path, data_only=True) for path in paths}
    return books, expected.marts(actions, steps, ZONE, request.param)


def _shown(column: Column, value: object) -> Any:  # noqa: ANN401
    """Return the expected value of a cell."""
    if value is None:
        return None
    if column.kind is Kind.TEXT:
        return label(column.name, value)
    if column.kind is Kind.DATE and isinstance(value, date):
        return datetime.combine(value, datetime.min.time())
    return pytest.approx(float(value), abs=1e-9)  # type: ignore[arg-type]


def _table(sheet: Any, table: Table) -> list[tuple[Any, ...]]:  # noqa: ANN401  (openpyxl's)
    """Return the rows of a table, found by its titles, without its totals."""
    titles = tuple(column.title for column in table.columns)
    rows = [row[: len(titles)] for row in sheet.iter_rows(values_only=True)]
    start = rows.index(titles) + 1
    end = next((at for at, row in enumerate(rows[start:], start) if row[0] in (None, "Итого")), len(rows))
    return [row for row in rows[start:end] if any(value is not None for value in row[1:])]


def _key(table: Table) -> Callable[[Sequence[Any]], tuple[str, ...]]:
    places = [at for at, column in enumerate(table.columns) if column.kind in (Kind.TEXT, Kind.DATE)]
    return lambda row: tuple(str(row[at]) for at in places)


def _assert_shows(sheet: Any, table: Table, records: "Sequence[Record]") -> None:  # noqa: ANN401
    found = _table(sheet, table)
    wanted = [tuple(_shown(column, row[column.name]) for column in table.columns) for row in records]
    assert sorted(found, key=_key(table)) == sorted(wanted, key=_key(table)), f"{sheet.title}: {table.mart}"


def _assert_sorted(sheet: Any, table: Table) -> None:  # noqa: ANN401
    first = table.order.split(",")[0]
    name, is_falling = first.removesuffix(" DESC"), first.endswith(" DESC")
    if name in (column.name for column in table.columns):
        values = [row[table.column_index(name)] for row in _table(sheet, table)]
        assert values == sorted(values, reverse=is_falling)


def _assert_totals(sheet: Any, table: Table, records: "Sequence[Record]") -> None:  # noqa: ANN401
    totals = [row for row in sheet.iter_rows(values_only=True) if row[0] == "Итого"]
    if not any(column.has_total for column in table.columns):
        assert totals == []
        return
    sums = {
        column.name: sum(float(row[column.name] or 0) for row in records)
        for column in table.columns
        if column.has_total
    }
    for column, value in zip(table.columns, totals[0], strict=False):
        if column.has_total:
            assert value == pytest.approx(sums[column.name])
        elif column.total_ratio:
            above, below = (sums[name] for name in column.total_ratio)
            assert value == pytest.approx(above / below - (column.kind is Kind.CHANGE))


def _cards(sheet: Any, figures: Sequence[KeyFigure]) -> dict[str, tuple[Any, Any]]:  # noqa: ANN401
    """Return value and change of each card by its title."""
    rows = list(sheet.iter_rows(values_only=True, max_row=20))
    found = {}
    for at, row in enumerate(rows):
        for place, text in enumerate(row):
            if text in {figure.title for figure in figures}:
                found[text] = rows[at + 1][place], rows[at + 2][place]
    return found


def _assert_cards(sheet: Any, figures: Sequence[KeyFigure], now: "Record", before: "Record") -> None:  # noqa: ANN401
    found = _cards(sheet, figures)
    for figure in figures:
        value, moved = found[figure.title]
        assert value == pytest.approx(now[figure.column])
        wanted = change(figure, now[figure.column], before.get(figure.column))
        if wanted is None:
            assert moved in (None, "не с чем сравнить")
        else:
            points = 100 if figure.kind is Kind.PERCENT else 1
            assert moved == pytest.approx(wanted * points, abs=1e-9)


def test_summary(books: Books) -> None:
    workbooks, marts = books
    for name, dashboard in DASHBOARDS.items():
        now, before = marts[dashboard.summary]
        _assert_cards(workbooks[name]["Сводка"], dashboard.figures, now, before)


def test_sheets(books: Books) -> None:
    workbooks, marts = books
    for name, sheet in SHEETS:
        _assert_shows(workbooks[name][sheet.name], sheet, marts[sheet.mart])
        _assert_sorted(workbooks[name][sheet.name], sheet)
        _assert_totals(workbooks[name][sheet.name], sheet, marts[sheet.mart])


def test_each_branch_has_a_sheet(books: Books) -> None:
    workbooks, marts = books
    for name, dashboard in DASHBOARDS.items():
        drilldown = dashboard.drilldown
        assert drilldown
        rows = marts[drilldown.of]
        assert len(rows) == 3
        for row in rows:
            sheet = workbooks[name][row["branch"]]
            previous = {key.removesuffix("_previous"): row[key] for key in row if key.endswith("_previous")}
            _assert_cards(sheet, drilldown.figures, row, previous)
            for table in drilldown.tables:
                own = [other for other in marts[table.mart] if other["branch"] == row["branch"]]
                if own:
                    _assert_shows(sheet, table, own)


def test_links_lead_to_a_branch_and_back(books: Books) -> None:
    workbooks, _ = books
    for name, dashboard in DASHBOARDS.items():
        assert dashboard.drilldown
        branches = dashboard.sheet(dashboard.drilldown.of)
        cells = [cell for (cell,) in workbooks[name][branches.name].iter_rows(max_col=1) if cell.hyperlink]
        targets = {cell.value: cell.hyperlink.location for cell in cells}
        for branch in ("Филиал 0", "Филиал 1", "Филиал 2"):
            assert targets[branch] == f"'{branch}'!A1"
            back = workbooks[name][branch]["A3"]
            assert back.hyperlink.location.replace("'", "") == f"{branches.name}!A1"


def test_every_sheet_has_a_link_on_the_summary(books: Books) -> None:
    workbooks, _ = books
    for name, dashboard in DASHBOARDS.items():
        book = workbooks[name]
        targets = {
            cell.hyperlink.location.split("!")[0].strip("'")
            for (cell,) in book["Сводка"].iter_rows(max_col=1)
            if cell.hyperlink
        }
        assert targets == {sheet.name for sheet in dashboard.sheets} | {"Данные"}
