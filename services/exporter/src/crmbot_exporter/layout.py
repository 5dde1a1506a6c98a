"""What a workbook is made of, as declarations, and the pure arithmetic of where things stand on a sheet.

A dashboard is a list of sheets; a sheet is one mart shown as a table under its charts. A drill-down adds a
sheet for each row of a table. Sizes are pixels at Excel's 100 %; rows and columns count from zero.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count, pairwise
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

    from crmbot_exporter.report import Report

SHEET_WIDTH = 1180  # every sheet is this wide, so that titles, charts and tables line up
# Columns of sheets with key figures: each card takes two of them, tables below have at most so many.
GRID = (205, 90, 147, 148, 147, 148, 147, 148)
GAP = 20
ROW_HEIGHT = 20
FIRST_ROW = 3  # below the title, the subtitle and an empty row
EXCEL_ROWS = 1_048_576
MAX_PAGE_ROWS = 54
CARDS = 4  # key figures side by side
TREND_DAYS = 91  # that a sparkline shows
_SHEET_NAME_LENGTH = 31
_LETTER_WIDTH = 7  # of bold letters of a header, on average


class Kind(Enum):
    """What the values of a column are, which says how they are written and formatted."""

    TEXT = "text"
    INTEGER = "integer"
    IDENTIFIER = "identifier"
    DECIMAL = "decimal"
    PERCENT = "percent"
    CHANGE = "change"  # a share more or less than before
    ROUBLES = "roubles"
    ROUBLES_KOPECKS = "roubles and kopecks"
    DATE = "date"
    MOMENT = "moment"


@dataclass(frozen=True)
class Column:
    """One column of a table. `width` is a share of the sheet on dashboards and pixels on the data sheet.

    In the row of totals stands the column's sum if `has_total`, or the quotient of two other columns' sums
    (of a change, less 1). `scale` colours cells: "heat" over all columns that have it together, "plan" each
    from red to green, which is the plan fulfilled. A column that is not `is_shown` only feeds charts.
    """

    name: str
    title: str
    kind: Kind = Kind.TEXT
    width: int = 100
    has_total: bool = False
    total_ratio: tuple[str, str] | None = None
    has_bars: bool = False
    scale: Literal["", "heat", "plan"] = ""
    is_growth_good: bool = True
    is_shown: bool = True


@dataclass(frozen=True)
class Series:
    """One series of a chart: a column of the mart. `mark` is a dash at the value, such as a target."""

    column: str
    colour: str
    style: Literal["fill", "line", "dashes", "mark"] = "fill"


@dataclass(frozen=True)
class Chart:
    """A chart of a table; the labels are in the column `category`.

    It shows all rows, or without the first `skip`, or only the first `top`, or only the `last`. A funnel's
    first series is the empty space left of its bars; a bullet's columns stand in front of one another.
    """

    kind: Literal["column", "stacked", "bar", "line", "funnel", "bullet"]
    title: str
    category: str
    series: tuple[Series, ...]
    skip: int = 0
    top: int | None = None
    last: int | None = None


def bars(title: str, category: str, column: str, colour: str, top: int | None = None) -> Chart:
    """Declare the commonest chart: horizontal bars of one column."""
    return Chart("bar", title, category, (Series(column, colour),), top=top)


@dataclass(frozen=True)
class Table:
    """One mart as a table. `order` is SQL: the columns that its rows are sorted by."""

    mart: str
    title: str
    order: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        return self.columns[self.column_index(name)]

    def column_index(self, name: str) -> int:
        return [column.name for column in self.columns].index(name)


@dataclass(frozen=True)
class Sheet(Table):
    """One mart as a sheet: its table below its charts."""

    name: str
    charts: tuple[Chart, ...]
    chart_height: int = 300
    note: str = ""


@dataclass(frozen=True)
class KeyFigure:
    """A column of a mart, now and before; `trend` is the column of the days for its sparkline."""

    column: str
    title: str
    kind: Kind
    trend: str = ""
    is_growth_good: bool = True


@dataclass(frozen=True)
class Drilldown:
    """A sheet for each row of the sheet of mart `of`, named by the row's `key` and reached by its link.

    The key figures are columns of that row, before in its columns …_previous. Charts and sparklines stand on
    the rows of the sheet of mart `days`, tables on their marts' rows, with the same key.
    """

    of: str
    key: str
    figures: tuple[KeyFigure, ...]
    days: str
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]


Insights = Callable[["Report", Mapping[str, "pd.DataFrame"]], list[str]]


@dataclass(frozen=True)
class Dashboard:
    """A workbook: summary, sheets, drill-downs, data; that of a stream has the stream's name.

    The summary has the key figures of the mart `summary`, sparklines of the sheet of mart `days`, what
    `insights` says, and the first charts of the `featured` marts.
    """

    name: str
    title: str
    summary: str
    figures: tuple[KeyFigure, ...]
    days: str
    insights: Insights
    featured: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    drilldown: Drilldown | None = None
    data: tuple[Column, ...] = ()

    def sheet(self, mart: str) -> Sheet:
        return next(sheet for sheet in self.sheets if sheet.mart == mart)

    @property
    def orders(self) -> dict[str, str]:
        """The marts that the workbook shows, each with what its rows are sorted by."""
        tables: tuple[Table, ...] = (*self.sheets, *(self.drilldown.tables if self.drilldown else ()))
        return {self.summary: "period", **{table.mart: table.order for table in tables}}


def column_widths(columns: Sequence[Column]) -> list[int]:
    """Return each column's pixels: its share of SHEET_WIDTH, with nothing left over; 0 if it is not shown."""
    widths = [column.width if column.is_shown else 0 for column in columns]
    edges = [0]
    for width in widths:
        edges.append(edges[-1] + width)
    points = [round(edge * SHEET_WIDTH / edges[-1]) for edge in edges]
    return [right - left for left, right in pairwise(points)]


def header_height(titles: Sequence[str], widths: Sequence[int]) -> int:
    """Return the pixels of a table's header: as many lines as its longest title needs in its column."""
    lines = max(
        _lines(title, (width - 14) // _LETTER_WIDTH) for title, width in zip(titles, widths, strict=True)
    )
    return 16 * lines + 8


def _lines(text: str, letters: int) -> int:
    """Return how many lines a text takes where so many letters fit on one."""
    return len(wrap(text, max(letters, 1)))


def boxes(number: int) -> list[tuple[int, int]]:
    """Return (left, width) in pixels of so many charts side by side."""
    # Two pixels short, so that the last one's frame is not cut off by the edge of the page.
    width = (SHEET_WIDTH - 2 - GAP * (number - 1)) // max(number, 1)
    return [(index * (width + GAP), width) for index in range(number)]


def chart_rows(height: int) -> int:
    """Return how many rows charts of this height take, an empty one below them included."""
    return math.ceil(height / ROW_HEIGHT) + 1


def table_row(sheet: Sheet) -> int:
    """Return the row of a sheet's table header: below the charts and an empty row."""
    return FIRST_ROW + (chart_rows(sheet.chart_height) if sheet.charts else 0)


@dataclass(frozen=True)
class Placed:
    """A sheet with the rows of its table: `rows` are those to be charted, counted from the table's first."""

    sheet: Sheet
    frame: "pd.DataFrame"
    rows: range

    @property
    def trend(self) -> "Placed":
        """The same with the last TREND_DAYS of its rows."""
        return replace(self, rows=range(max(self.rows.start, self.rows.stop - TREND_DAYS), self.rows.stop))

    @property
    def charted(self) -> "pd.DataFrame":
        return self.frame.iloc[self.rows.start : self.rows.stop]

    def column_range(self, name: str) -> tuple[int, int, int, int]:
        """Return the first and last cell (row, column, row, column) of a column's charted rows."""
        column = self.sheet.column_index(name)
        first = table_row(self.sheet) + 1
        return first + self.rows.start, column, first + self.rows.stop - 1, column


def charted_rows(chart: Chart, rows: range) -> range:
    """Return which of these rows of a table a chart shows."""
    first = (
        rows.start + chart.skip
        if chart.last is None
        else max(rows.start + chart.skip, rows.stop - chart.last)
    )
    return range(first, rows.stop if chart.top is None else min(rows.stop, rows.start + chart.top))


def chart_title(chart: Chart, rows: range) -> str:
    """Return a chart's title, which says so when the days before are left out."""
    is_cut = chart.last is not None and chart.last < len(rows)
    return f"{chart.title}, последние {chart.last} дн." if is_cut else chart.title


def fits_one_page(sheet: Sheet, rows: int) -> bool:
    """Return whether a sheet with so many rows stays readable when it is printed on one page."""
    return table_row(sheet) + rows <= MAX_PAGE_ROWS


def sheet_names(texts: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Return a sheet name for each text: what Excel allows of it, other than those that are taken."""
    names: dict[str, str] = {}
    used = {name.casefold() for name in taken}
    for text in texts:
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        # What Excel refuses, and what XlsxWriter does not escape in defined names.
        allowed = re.sub(r'[\[\]:*?/\\<>&"]', " ", printable).strip("' ") or "-"
        for number in count(1):
            suffix = f" {number}" if number > 1 else ""
            name = allowed[: _SHEET_NAME_LENGTH - len(suffix)].rstrip("' ") + suffix
            if name.casefold() not in used:
                break
        used.add(name.casefold())
        names[text] = name
    return names


def data_sheet_names() -> Iterator[str]:
    """Yield the names of the data sheets: as many as Excel's row limit makes necessary."""
    yield "Данные"
    for number in count(2):
        yield f"Данные {number}"


def data_sheet_count(rows: int, limit: int = EXCEL_ROWS) -> int:
    """Return how many sheets of at most `limit` rows, header included, hold so many rows of data."""
    return max(1, math.ceil(rows / (limit - 1)))
