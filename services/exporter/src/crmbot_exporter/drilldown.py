"""Draws drill-down sheets: one for each row of a table, reached by the row's link."""

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from crmbot_exporter.cards import draw_cards
from crmbot_exporter.charts import is_filled
from crmbot_exporter.frames import Frames, Record
from crmbot_exporter.layout import FIRST_ROW, GRID, Drilldown, Placed, Table, chart_rows
from crmbot_exporter.report import Report
from crmbot_exporter.sheets import draw_table, insert_charts, start_sheet
from crmbot_exporter.theme import Theme

_CHART_HEIGHT = 280


def rows_of(frame: pd.DataFrame, key: str, value: str) -> range:
    """Return the positions of the rows with this key in a frame sorted by it."""
    found = [place for place, other in enumerate(frame[key]) if other == value]
    return range(found[0], found[-1] + 1) if found else range(0)


def draw_drilldown(
    workbook: Workbook,
    formats: Theme,
    drilldown: Drilldown,
    name: str,
    row: Record,
    days: Placed,
    frames: Frames,
    report: Report,
    back: str,
) -> None:
    """Add the detail sheet of one parent row.

    Args:
        workbook: the workbook to add to.
        formats: the cell formats.
        drilldown: the drill-down's declaration.
        name: the sheet's name.
        row: the parent row, by column.
        days: the daily table; its charted rows are those with the parent's key.
        frames: the marts by name.
        report: the report that the workbook shows.
        back: the name of the parent sheet.
    """
    key = str(row[drilldown.key])
    worksheet = start_sheet(workbook, formats, name, key, report.subtitle, GRID, back)
    before = {
        column.removesuffix("_previous"): value
        for column, value in row.items()
        if column.endswith("_previous")
    }
    before_title = report.days.previous_period if report.days else ""
    placed = days if days.rows else None
    below = draw_cards(worksheet, formats, FIRST_ROW, drilldown.figures, row, before, before_title, placed)
    charts = [(chart, days) for chart in drilldown.charts if placed and is_filled(chart, days)]
    insert_charts(workbook, worksheet, below, charts, _CHART_HEIGHT)
    below += chart_rows(_CHART_HEIGHT) if charts else 0
    for table in drilldown.tables:
        frame = frames[table.mart]
        below = _draw_table(worksheet, formats, table, frame[frame[drilldown.key] == key], below)
    worksheet.fit_to_pages(1, 0)
    worksheet.print_area(0, 0, below, len(GRID) - 1)


def _draw_table(worksheet: Worksheet, formats: Theme, table: Table, frame: pd.DataFrame, row: int) -> int:
    """Write a title and a table unless it is empty; return the next row, one blank row below."""
    if frame.empty:
        return row
    worksheet.set_row_pixels(row, 28)
    worksheet.write_string(row, 0, table.title, formats.section)
    return draw_table(worksheet, formats, table, frame, GRID, row + 1, {}) + 2
