"""Draws native Excel charts of a table's ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.chart import Chart as ExcelChart

from crmbot_exporter import theme
from crmbot_exporter.cells import number
from crmbot_exporter.labels import label
from crmbot_exporter.layout import Chart, Kind, Placed, Series, chart_title, charted_rows

Options = dict[str, Any]

_EXCEL_EPOCH = date(1899, 12, 30)
_FONT = {"name": theme.FONT, "size": 9, "color": theme.MUTED}
_TITLE_FONT = {"name": theme.FONT, "size": 11, "bold": True, "color": theme.INK}
_TYPES: Mapping[str, dict[str, str]] = {
    "column": {"type": "column"},
    "stacked": {"type": "column", "subtype": "stacked"},
    "bar": {"type": "bar"},
    "line": {"type": "line"},
    "funnel": {"type": "bar", "subtype": "stacked"},
    "bullet": {"type": "column"},
}
_HORIZONTAL = ("bar", "funnel")
_ROOM_FOR_LABELS = 1.2  # length of a bar chart's axis over that of its longest bar


def draw_chart(workbook: Workbook, chart: Chart, placed: Placed, size: tuple[int, int]) -> ExcelChart:
    """Return a chart, ready to be inserted on any sheet.

    Args:
        workbook: the workbook that the chart belongs to.
        chart: the chart's declaration.
        placed: the charted table, with at least one charted row.
        size: width and height in pixels.
    """
    drawn = workbook.add_chart(dict(_TYPES[chart.kind]))
    title = chart_title(chart, placed.rows)
    drawn.set_title({"name": title, "name_font": _TITLE_FONT, "overlay": False})
    drawn.set_legend(_legend(chart))
    drawn.set_chartarea({"border": {"color": theme.GRID}, "fill": {"color": "#FFFFFF"}})
    drawn.set_size({"width": size[0], "height": size[1]})
    shown = replace(placed, rows=charted_rows(chart, placed.rows))
    if chart.kind == "funnel":
        drawn.show_hidden_data()
    is_over = chart.kind != "line"
    main = [series for series in chart.series if series.style == "fill" or not is_over]
    for series in main:
        drawn.add_series(_ranges(shown, chart, series) | _look(shown, chart, series))
    category, value = _category_axis(shown, chart), _value_axis(shown, chart, main)
    drawn.set_x_axis(value if chart.kind in _HORIZONTAL else category)
    drawn.set_y_axis(category if chart.kind in _HORIZONTAL else value)
    if is_over:
        _add_lines(workbook, drawn, shown, chart)
    return drawn


def is_filled(chart: Chart, placed: Placed) -> bool:
    """Return whether a chart has a value above zero to show."""
    rows = charted_rows(chart, placed.rows)
    return greatest(chart.series, placed.frame.iloc[rows.start : rows.stop]) > 0


def days_between_labels(days: int) -> int:
    """Return the label step of a date axis in days: 1, or whole weeks for long periods."""
    return 1 if days <= 16 else 7 * max(1, round(days / 7 / 14))


def greatest(series: Sequence[Series], frame: pd.DataFrame) -> float:
    """Return the greatest value of all series; a missing value counts as 0, and without rows it is 0."""
    figures = [number(value) or 0.0 for one in series for value in frame[one.column]]
    return max(figures, default=0.0)


def _add_lines(workbook: Workbook, drawn: ExcelChart, shown: Placed, chart: Chart) -> None:
    """Draw lines and marks over columns, on a secondary axis if their values are of another kind."""
    lines = [series for series in chart.series if series.style != "fill"]
    if not lines:
        return
    over = workbook.add_chart({"type": "line"})
    kinds = [shown.sheet.column(series.column).kind for series in (chart.series[0], lines[0])]
    has_own_axis = kinds[0] is not kinds[1]
    for series in lines:
        over.add_series(_ranges(shown, chart, series) | _line(series) | {"y2_axis": has_own_axis})
    if has_own_axis:
        over.set_y2_axis(_value_axis(shown, chart, lines) | {"major_gridlines": {"visible": False}})
    drawn.combine(over)


def _ranges(shown: Placed, chart: Chart, series: Series) -> Options:
    return {
        "name": shown.sheet.column(series.column).title,
        "categories": _range(shown, chart.category),
        "values": _range(shown, series.column),
        # The cache serves viewers that draw from it; Excel reads the ranges.
        "categories_data": [_cached(chart.category, value) for value in shown.charted[chart.category]],
        "values_data": [number(value) for value in shown.charted[series.column]],
    }


def _range(shown: Placed, column: str) -> list[str | int]:
    return [shown.sheet.name, *shown.column_range(column)]


def _look(shown: Placed, chart: Chart, series: Series) -> Options:
    """Return the formatting of columns, bars, or the lines of a line chart."""
    if chart.kind == "line":
        return _line(series)
    look: Options = {"fill": {"color": series.colour}, "gap": 40 if len(shown.rows) > 20 else 60}
    if chart.kind == "stacked":
        return look | {"overlap": 100, "gap": 30}
    if chart.kind == "bullet":
        return look | {"overlap": 100}
    if chart.kind == "funnel":
        look |= {"overlap": 100, "gap": 12}
        if series is chart.series[0]:
            return look | {"fill": {"none": True}, "border": {"none": True}}
    if chart.kind in _HORIZONTAL or (len(shown.rows) <= 12 and len(chart.series) == 1):
        kind = shown.sheet.column(series.column).kind
        short = theme.axis_format(kind, greatest([series], shown.charted))
        is_inside = chart.kind == "funnel"
        font = _FONT | ({"color": "#FFFFFF", "bold": True} if is_inside else {})
        look["data_labels"] = {"value": True, "num_format": short, "font": font}
        if is_inside:
            look["data_labels"]["position"] = "center"
    return look


def _line(series: Series) -> Options:
    if series.style == "mark":
        mark = {"type": "long_dash", "size": 20, "fill": {"color": series.colour}, "border": {"none": True}}
        return {"line": {"none": True}, "marker": mark}
    line = {"color": series.colour, "width": 2.25}
    return {"line": line | ({"dash_type": "dash", "width": 1.75} if series.style == "dashes" else {})}


def _category_axis(shown: Placed, chart: Chart) -> Options:
    axis: Options = {"num_font": _FONT, "line": {"color": theme.GREY}, "major_tick_mark": "none"}
    if shown.sheet.column(chart.category).kind is Kind.DATE:
        days = shown.charted[chart.category].tolist()
        axis["num_format"] = "dd.mm"
        if days[-1] - days[0] == timedelta(days=len(days) - 1):
            step = days_between_labels(len(days))
            axis |= {"date_axis": True, "major_unit": step, "major_unit_type": "days"}
        else:
            axis["text_axis"] = True  # weeks: on a date axis their columns would be one day wide
    if chart.kind in _HORIZONTAL:
        axis |= {"reverse": True}  # the first row of the table is the topmost bar
    return axis


def _value_axis(shown: Placed, chart: Chart, series: list[Series]) -> Options:
    is_hidden = chart.kind in _HORIZONTAL
    top = greatest(series, shown.charted)
    axis: Options = {
        "num_font": _FONT,
        "num_format": theme.axis_format(shown.sheet.column(series[0].column).kind, top),
        "line": {"none": True},
        "major_tick_mark": "none",
        "major_gridlines": {"visible": not is_hidden, "line": {"color": theme.GRID, "width": 0.75}},
        "min": 0,
        "visible": not is_hidden,
    }
    if chart.kind == "bar" and top:
        axis["max"] = top * _ROOM_FOR_LABELS
    return axis


def _legend(chart: Chart) -> Options:
    if len(chart.series) == 1 or chart.kind == "funnel":
        return {"none": True}
    return {"position": "bottom", "font": _FONT}


def _cached(column: str, value: object) -> str | int:
    if isinstance(value, date):
        return (value - _EXCEL_EPOCH).days
    return label(column, value)
