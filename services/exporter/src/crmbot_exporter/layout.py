"""Declarations of a workbook's parts, and pure functions for their positions on a sheet.

A dashboard is a list of sheets; a sheet shows one mart as a table below its charts. A drill-down adds a sheet
for each row of a table. Sizes are pixels at 100 % zoom; rows and columns are zero-based.
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
# Column widths of sheets with key figures: a card spans two columns, a table has at most this many.
GRID = (205, 90, 147, 148, 147, 148, 147, 148)
GAP = 20
ROW_HEIGHT = 20
FIRST_ROW = 3  # below the title, the subtitle and an empty row
EXCEL_ROWS = 1_048_576
MAX_PAGE_ROWS = 54
CARDS = 4  # key figures side by side
TREND_DAYS = 91  # shown by a sparkline
_SHEET_NAME_LENGTH = 31
_LETTER_WIDTH = 7  # average, of a header's bold letters


class Kind(Enum):
    """Kind of a column's values, which decides how they are written and formatted."""

    TEXT = "text"
    INTEGER = "integer"
    IDENTIFIER = "identifier"
    DECIMAL = "decimal"
    PERCENT = "percent"
    CHANGE = "change"  # relative to the previous period
    ROUBLES = "roubles"
    ROUBLES_KOPECKS = "roubles and kopecks"
    DATE = "date"
    MOMENT = "moment"


@dataclass(frozen=True)
class Column:
    """One column of a table. `width` is a share of the sheet on dashboards and pixels on the data sheet.

    The totals row holds the column's sum if `has_total`, or with `total_ratio` the quotient of two other
    columns' sums (minus 1 for a change). `scale` colours cells: "heat" across all columns that have it,
    "plan" per column from red to green (plan fulfilled). A column with `is_shown` False only feeds charts.
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
    """One series of a chart: a column of the mart. A `mark` is a dash at the value, for targets."""

    column: str
    colour: str
    style: Literal["fill", "line", "dashes", "mark"] = "fill"


@dataclass(frozen=True)
class Chart:
    """A chart of a table, with its labels in the column `category`.

    It shows all rows, all but the first `skip`, the first `top`, or the `last` ones. A funnel's first series
    is the blank space to the left of its bars; a bullet's columns overlap.
    """

    kind: Literal["column", "stacked", "bar", "line", "funnel", "bullet"]
    title: str
    category: str
    series: tuple[Series, ...]
    skip: int = 0
    top: int | None = None
    last: int | None = None


def bars(title: str, category: str, column: str, colour: str, top: int | None = None) -> Chart:
    """Declare horizontal bars of one column, the most common chart."""
    return Chart("bar", title, category, (Series(column, colour),), top=top)


@dataclass(frozen=True)
class Table:
    """One mart as a table. `order` is the list after ORDER BY."""

    mart: str
    title: str
    order: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """Return a column by its name in the mart.

        Raises:
            ValueError: the table has no such column.
        """
        return self.columns[self.column_index(name)]

    def column_index(self, name: str) -> int:
        """Return a column's position, from 0.

        Raises:
            ValueError: the table has no such column.
        """
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
    """A column of a mart with its change; `trend` is the column of the daily mart for its sparkline."""

    column: str
    title: str
    kind: Kind
    trend: str = ""
    is_growth_good: bool = True


@dataclass(frozen=True)
class Drilldown:
    """A detail sheet for each row of the mart `of`, named by the row's `key` and linked from it.

    The key figures are columns of that row; their previous values are its columns …_previous. Charts and
    sparklines show the rows of the mart `days` with the same key, tables those of their own marts.
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
    """A workbook: summary, sheets, drill-downs, data. A stream's dashboard is named after the stream.

    The summary shows the key figures of the mart `summary`, sparklines of the mart `days`, the sentences of
    `insights`, and the first chart of each `featured` mart.
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
        """Return the sheet of a mart.

        Raises:
            StopIteration: no sheet shows it.
        """
        return next(sheet for sheet in self.sheets if sheet.mart == mart)

    @property
    def orders(self) -> dict[str, str]:
        """The ORDER BY list of each mart that the workbook shows."""
        tables: tuple[Table, ...] = (*self.sheets, *(self.drilldown.tables if self.drilldown else ()))
        return {self.summary: "period", **{table.mart: table.order for table in tables}}


def column_widths(columns: Sequence[Column]) -> list[int]:
    """Return each column's pixels, which add up to SHEET_WIDTH; 0 if it is not shown."""
    widths = [column.width if column.is_shown else 0 for column in columns]
    edges = [0]
    for width in widths:
        edges.append(edges[-1] + width)
    points = [round(edge * SHEET_WIDTH / edges[-1]) for edge in edges]
    return [right - left for left, right in pairwise(points)]


def header_height(titles: Sequence[str], widths: Sequence[int]) -> int:
    """Return the pixels of a table's header: the height of its tallest wrapped title."""
    lines = max(
        _lines(title, (width - 14) // _LETTER_WIDTH) for title, width in zip(titles, widths, strict=True)
    )
    return 16 * lines + 8


def _lines(text: str, letters: int) -> int:
    """Return the lines of a text wrapped at this many letters."""
    return len(wrap(text, max(letters, 1)))


def boxes(number: int) -> list[tuple[int, int]]:
    """Return (left, width) in pixels for each of `number` charts side by side."""
    # Two pixels short, so that the edge of the page does not cut off the last chart's frame.
    width = (SHEET_WIDTH - 2 - GAP * (number - 1)) // max(number, 1)
    return [(index * (width + GAP), width) for index in range(number)]


def chart_rows(height: int) -> int:
    """Return the rows that charts of this height take, with one blank row below them."""
    return math.ceil(height / ROW_HEIGHT) + 1


def table_row(sheet: Sheet) -> int:
    """Return the row of a sheet's table header: below the charts and a blank row."""
    return FIRST_ROW + (chart_rows(sheet.chart_height) if sheet.charts else 0)


@dataclass(frozen=True)
class Placed:
    """A sheet with the rows of its table; `rows` are the positions of the charted ones."""

    sheet: Sheet
    frame: "pd.DataFrame"
    rows: range

    @property
    def trend(self) -> "Placed":
        """The same sheet with only the last TREND_DAYS charted rows."""
        return replace(self, rows=range(max(self.rows.start, self.rows.stop - TREND_DAYS), self.rows.stop))

    @property
    def charted(self) -> "pd.DataFrame":
        """The charted rows of `frame`."""
        return self.frame.iloc[self.rows.start : self.rows.stop]

    def column_range(self, name: str) -> tuple[int, int, int, int]:
        """Return the first and last cell (row, column, row, column) of a column's charted rows."""
        column = self.sheet.column_index(name)
        first = table_row(self.sheet) + 1
        return first + self.rows.start, column, first + self.rows.stop - 1, column


def charted_rows(chart: Chart, rows: range) -> range:
    """Return the rows that a chart shows, out of these rows of a table."""
    first = (
        rows.start + chart.skip
        if chart.last is None
        else max(rows.start + chart.skip, rows.stop - chart.last)
    )
    return range(first, rows.stop if chart.top is None else min(rows.stop, rows.start + chart.top))


def chart_title(chart: Chart, rows: range) -> str:
    """Return a chart's title, with the number of days shown if earlier days are cut off."""
    is_cut = chart.last is not None and chart.last < len(rows)
    return f"{chart.title}, последние {chart.last} дн." if is_cut else chart.title


def fits_one_page(sheet: Sheet, rows: int) -> bool:
    """Return whether a sheet with this many rows is readable printed on one page."""
    return table_row(sheet) + rows <= MAX_PAGE_ROWS


def sheet_names(texts: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Return a unique valid sheet name for each text, none of them in `taken`."""
    names: dict[str, str] = {}
    used = {name.casefold() for name in taken}
    for text in texts:
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        # Characters that Excel refuses or XlsxWriter does not escape in defined names.
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
    """Yield names of data sheets, without end."""
    yield "Данные"
    for number in count(2):
        yield f"Данные {number}"


def data_sheet_count(rows: int, limit: int = EXCEL_ROWS) -> int:
    """Return the number of sheets, of at most `limit` rows with the header, that hold this many data rows."""
    return max(1, math.ceil(rows / (limit - 1)))
