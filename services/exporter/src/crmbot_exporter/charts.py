"""Native Excel charts on the ranges of a sheet's table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.chart import Chart as ExcelChart

from crmbot_exporter import theme
from crmbot_exporter.cells import number
from crmbot_exporter.labels import label
from crmbot_exporter.layout import Chart, Column, Kind, Series, Sheet, chart_title, charted_rows, table_row

Options = dict[str, Any]

_EXCEL_EPOCH = date(1899, 12, 30)
_FONT = {"name": theme.FONT, "size": 9, "color": theme.MUTED}
_TITLE_FONT = {"name": theme.FONT, "size": 11, "bold": True, "color": theme.INK}
_TYPES: Mapping[str, dict[str, str]] = {
    "column": {"type": "column"},
    "stacked": {"type": "column", "subtype": "stacked"},
    "bar": {"type": "bar"},
    "doughnut": {"type": "doughnut"},
}
_ROOM_FOR_LABELS = 1.2  # how much longer than its greatest bar a bar chart is


def draw_chart(
    workbook: Workbook, sheet: Sheet, chart: Chart, frame: pd.DataFrame, size: tuple[int, int]
) -> ExcelChart:
    """Return a chart of the sheet's table, ready to be inserted.

    Args:
        workbook: where the chart will stand, on whichever sheet.
        sheet: the sheet of the table.
        chart: what to draw.
        frame: the rows of the table, at least one.
        size: width and height in pixels.
    """
    drawn = workbook.add_chart(dict(_TYPES[chart.kind]))
    title = chart_title(chart, len(frame))
    drawn.set_title({"name": title, "name_font": _TITLE_FONT, "overlay": False})
    drawn.set_legend(_legend(chart))
    drawn.set_chartarea({"border": {"color": theme.GRID}, "fill": {"color": "#FFFFFF"}})
    drawn.set_size({"width": size[0], "height": size[1]})
    if chart.kind == "doughnut":
        drawn.add_series(_ranges(sheet, chart, chart.series[0], frame) | _slices(chart, frame))
        drawn.set_hole_size(58)
        return drawn
    main = [series for series in chart.series if not series.is_line]
    for series in main:
        drawn.add_series(_ranges(sheet, chart, series, frame) | _bars(sheet, chart, series, frame))
    category, value = _category_axis(sheet, chart, frame), _value_axis(sheet, chart, main, frame)
    drawn.set_x_axis(value if chart.kind == "bar" else category)
    drawn.set_y_axis(category if chart.kind == "bar" else value)
    _add_lines(workbook, drawn, sheet, chart, frame)
    return drawn


def with_filled_charts(sheet: Sheet, frame: pd.DataFrame) -> Sheet:
    """Return the sheet without those charts that would show empty axes."""

    def is_filled(chart: Chart) -> bool:
        rows = charted_rows(chart, len(frame))
        return _greatest(chart.series, frame.iloc[rows.start : rows.stop]) > 0

    return replace(sheet, charts=tuple(chart for chart in sheet.charts if is_filled(chart)))


def days_between_labels(days: int) -> int:
    """Return the step of a date axis: whole weeks once there are too many days to name each."""
    return 1 if days <= 16 else 7 * max(1, round(days / 7 / 14))


def _add_lines(
    workbook: Workbook, drawn: ExcelChart, sheet: Sheet, chart: Chart, frame: pd.DataFrame
) -> None:
    """Draw lines over columns: on their axis if they count the same, otherwise on an axis of their own."""
    lines = [series for series in chart.series if series.is_line]
    if not lines:
        return
    over = workbook.add_chart({"type": "line"})
    has_own_axis = _column(sheet, lines[0].column).kind is not _column(sheet, chart.series[0].column).kind
    for series in lines:
        look = {"line": {"color": series.colour, "width": 2.25}, "y2_axis": has_own_axis}
        over.add_series(_ranges(sheet, chart, series, frame) | look)
    if has_own_axis:
        over.set_y2_axis(_value_axis(sheet, chart, lines, frame) | {"major_gridlines": {"visible": False}})
    drawn.combine(over)


def _ranges(sheet: Sheet, chart: Chart, series: Series, frame: pd.DataFrame) -> Options:
    rows = charted_rows(chart, len(frame))
    first, last = (table_row(sheet) + 1 + row for row in (rows.start, rows.stop - 1))
    category, values = sheet.column_index(chart.category), sheet.column_index(series.column)
    shown = frame.iloc[rows.start : rows.stop]
    return {
        "name": _column(sheet, series.column).title,
        "categories": [sheet.name, first, category, last, category],
        "values": [sheet.name, first, values, last, values],
        # Viewers that draw a chart from its cache find it filled; Excel reads the ranges.
        "categories_data": [_cached(chart.category, value) for value in shown[chart.category]],
        "values_data": [number(value) for value in shown[series.column]],
    }


def _slices(chart: Chart, frame: pd.DataFrame) -> Options:
    codes = [str(code) for code in frame[chart.category]]
    return {
        "points": [
            {"fill": {"color": colour}, "border": {"color": "#FFFFFF"}} for colour in slice_colours(codes)
        ],
        "data_labels": {
            "percentage": True,
            "num_format": "0%",
            "leader_lines": False,
            "font": _FONT | {"color": "#FFFFFF", "bold": True},
        },
    }


def slice_colours(codes: Sequence[str]) -> list[str]:
    """Return a colour for each code: that of its meaning, or the next of the sequence."""
    spare = [colour for colour in theme.SEQUENCE if colour not in map(theme.CODE_COLOURS.get, codes)]
    others = [code for code in codes if code not in theme.CODE_COLOURS]
    return [theme.CODE_COLOURS.get(code) or spare[others.index(code) % len(spare)] for code in codes]


def _bars(sheet: Sheet, chart: Chart, series: Series, frame: pd.DataFrame) -> Options:
    rows = charted_rows(chart, len(frame))
    look: Options = {"fill": {"color": series.colour}, "gap": 40 if len(rows) > 20 else 60}
    if chart.kind == "stacked":
        return look | {"overlap": 100, "gap": 30}
    if chart.kind == "bar" or (len(rows) <= 12 and len(chart.series) == 1):
        kind = _column(sheet, series.column).kind
        shown = frame.iloc[rows.start : rows.stop]
        short = theme.axis_format(kind, _greatest([series], shown))
        look["data_labels"] = {"value": True, "num_format": short, "font": _FONT}
    return look


def _category_axis(sheet: Sheet, chart: Chart, frame: pd.DataFrame) -> Options:
    axis: Options = {"num_font": _FONT, "line": {"color": theme.GREY}, "major_tick_mark": "none"}
    if _column(sheet, chart.category).kind is Kind.DATE:
        axis |= {
            "date_axis": True,
            "num_format": "dd.mm",
            "major_unit": days_between_labels(len(charted_rows(chart, len(frame)))),
            "major_unit_type": "days",
        }
    if chart.kind == "bar":
        axis |= {"reverse": True}  # the first row of the table is the topmost bar
    return axis


def _value_axis(sheet: Sheet, chart: Chart, series: list[Series], frame: pd.DataFrame) -> Options:
    is_hidden = chart.kind == "bar"
    greatest = _greatest(series, frame)
    axis: Options = {
        "num_font": _FONT,
        "num_format": theme.axis_format(_column(sheet, series[0].column).kind, greatest),
        "line": {"none": True},
        "major_tick_mark": "none",
        "major_gridlines": {"visible": not is_hidden, "line": {"color": theme.GRID, "width": 0.75}},
        "min": 0,
        "visible": not is_hidden,
    }
    if is_hidden and greatest:
        axis["max"] = greatest * _ROOM_FOR_LABELS
    return axis


def _legend(chart: Chart) -> Options:
    if chart.kind == "doughnut":
        return {"position": "right", "font": _FONT | {"size": 10}}
    return {"none": True} if len(chart.series) == 1 else {"position": "bottom", "font": _FONT}


def _column(sheet: Sheet, name: str) -> Column:
    return sheet.columns[sheet.column_index(name)]


def _greatest(series: Sequence[Series], frame: pd.DataFrame) -> float:
    figures = [number(value) or 0.0 for one in series for value in frame[one.column]]
    return max(figures, default=0.0)


def _cached(column: str, value: object) -> str | int:
    if isinstance(value, date):
        return (value - _EXCEL_EPOCH).days
    return label(column, value)
