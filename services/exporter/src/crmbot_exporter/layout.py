"""What a dashboard is made of, as declarations, and the pure arithmetic of where things stand on a sheet.

A dashboard is a list of sheets; a sheet is one mart shown as a table under its charts. Sizes are pixels at
Excel's 100 %; rows and columns count from zero.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from itertools import count, pairwise
from typing import Literal

SHEET_WIDTH = 1180  # every sheet is this wide, so that titles, charts and tables line up
GAP = 20
ROW_HEIGHT = 20
CHART_ROW = 3  # below the title, the subtitle and an empty row
EXCEL_ROWS = 1_048_576
MAX_PAGE_ROWS = 50


class Kind(Enum):
    """What the values of a column are, which says how they are written and formatted."""

    TEXT = "text"
    INTEGER = "integer"
    IDENTIFIER = "identifier"
    DECIMAL = "decimal"
    PERCENT = "percent"
    ROUBLES = "roubles"
    ROUBLES_KOPECKS = "roubles and kopecks"
    DATE = "date"
    MOMENT = "moment"


@dataclass(frozen=True)
class Column:
    """One column of a table. `width` is a share of the sheet on dashboards and pixels on the data sheet.

    In the row of totals stands the column's sum if `has_total`, or the quotient of two other columns' sums.
    """

    name: str
    title: str
    kind: Kind = Kind.TEXT
    width: int = 100
    has_total: bool = False
    total_ratio: tuple[str, str] | None = None
    has_bars: bool = False
    has_scale: bool = False  # colour scale over this column and its neighbours that have one too


@dataclass(frozen=True)
class Series:
    """One series of a chart: a column of the mart, drawn as the chart's kind or as a line over it."""

    column: str
    colour: str
    is_line: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart of a sheet's table; the labels are in the column `category`.

    It shows all rows, or without the first `skip`, or only the first `top`, or only the `last`.
    """

    kind: Literal["column", "stacked", "bar", "doughnut"]
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
class Sheet:
    """One mart as a sheet. `order` is SQL: the columns that its rows are sorted by."""

    mart: str
    name: str
    title: str
    order: str
    columns: tuple[Column, ...]
    charts: tuple[Chart, ...]
    chart_height: int = 300
    note: str = ""

    def column_index(self, name: str) -> int:
        return [column.name for column in self.columns].index(name)


@dataclass(frozen=True)
class KeyFigure:
    """One figure of the summary sheet: a column of the stream's summary mart."""

    column: str
    title: str
    kind: Kind


@dataclass(frozen=True)
class Dashboard:
    """A workbook: summary, sheets, data. The first charts of the `featured` marts are on the summary too."""

    stream: Literal["actions", "nature"]
    title: str
    summary: str
    key_figures: tuple[KeyFigure, ...]
    featured: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    data: tuple[Column, ...]


def column_widths(columns: Sequence[Column]) -> list[int]:
    """Return each column's pixels: its share of SHEET_WIDTH, with nothing left over."""
    total = sum(column.width for column in columns)
    edges = [0]
    for column in columns:
        edges.append(edges[-1] + column.width)
    points = [round(edge * SHEET_WIDTH / total) for edge in edges]
    return [right - left for left, right in pairwise(points)]


def chart_boxes(number: int) -> list[tuple[int, int]]:
    """Return (left, width) in pixels of so many charts side by side."""
    # Two pixels short, so that the last one's frame is not cut off by the edge of the page.
    width = (SHEET_WIDTH - 2 - GAP * (number - 1)) // max(number, 1)
    return [(index * (width + GAP), width) for index in range(number)]


def table_row(sheet: Sheet) -> int:
    """Return the row of a sheet's table header: below the charts and an empty row."""
    if not sheet.charts:
        return CHART_ROW
    return CHART_ROW + math.ceil(sheet.chart_height / ROW_HEIGHT) + 1


def charted_rows(chart: Chart, rows: int) -> range:
    """Return which of the table's rows, counted from zero, a chart shows."""
    first = chart.skip if chart.last is None else max(chart.skip, rows - chart.last)
    return range(first, rows if chart.top is None else min(rows, chart.top))


def chart_title(chart: Chart, rows: int) -> str:
    """Return a chart's title, which says so when the days before are left out."""
    is_cut = chart.last is not None and chart.last < rows
    return f"{chart.title}, последние {chart.last} дн." if is_cut else chart.title


def fits_one_page(sheet: Sheet, rows: int) -> bool:
    """Return whether a sheet with so many rows stays readable when it is printed on one page."""
    return table_row(sheet) + rows <= MAX_PAGE_ROWS


def data_sheet_names() -> Iterator[str]:
    """Yield the names of the data sheets: as many as Excel's row limit makes necessary."""
    yield "Данные"
    for number in count(2):
        yield f"Данные {number}"


def data_sheet_count(rows: int, limit: int = EXCEL_ROWS) -> int:
    """Return how many sheets of at most `limit` rows, header included, hold so many rows of data."""
    return max(1, math.ceil(rows / (limit - 1)))


def period(first: date, last: date) -> str:
    """Return a period as it is written in Russian."""
    return f"{first:%d.%m.%Y} – {last:%d.%m.%Y}"
