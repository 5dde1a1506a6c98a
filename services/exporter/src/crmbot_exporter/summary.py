"""Draws the first sheet: key figures, insights, charts, contents, freshness of the data."""

from collections.abc import Mapping, Sequence

from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from crmbot_exporter import russian
from crmbot_exporter.cards import draw_cards
from crmbot_exporter.cells import write_text
from crmbot_exporter.frames import Frames, periods
from crmbot_exporter.layout import (
    FIRST_ROW,
    GRID,
    Dashboard,
    Placed,
    chart_rows,
    data_sheet_count,
    data_sheet_names,
)
from crmbot_exporter.report import Report
from crmbot_exporter.sheets import SUMMARY, insert_charts, link_to, start_sheet
from crmbot_exporter.theme import Theme

_CHART_HEIGHT = 280


def draw_summary(
    workbook: Workbook,
    formats: Theme,
    dashboard: Dashboard,
    report: Report,
    frames: Frames,
    placed: Mapping[str, Placed],
    notes: Sequence[str],
    data_note: str,
) -> None:
    """Add the summary.

    Args:
        workbook: the workbook to add to.
        formats: the cell formats.
        dashboard: the dashboard's declaration.
        report: the report that the workbook shows.
        frames: the marts by name.
        placed: the tables of the other sheets by mart.
        notes: lines at the end, on the freshness of the data.
        data_note: description of the data sheet; empty if there is none.
    """
    worksheet = start_sheet(workbook, formats, SUMMARY, dashboard.title, report.subtitle, GRID)
    now, before = periods(frames[dashboard.summary])
    before_title = report.days.previous_period if report.days else ""
    days = placed.get(dashboard.days)
    row = draw_cards(worksheet, formats, FIRST_ROW, dashboard.figures, now, before, before_title, days)
    row = _draw_insights(worksheet, formats, row, dashboard.insights(report, frames))
    charts = [(chart, placed[mart]) for mart in dashboard.featured for chart in placed[mart].sheet.charts[:1]]
    insert_charts(workbook, worksheet, row, charts, _CHART_HEIGHT)
    row += chart_rows(_CHART_HEIGHT) if charts else 0
    links = [(sheet.name, sheet.title) for sheet in dashboard.sheets]
    if data_note:
        links.append((next(data_sheet_names()), data_note))
    row = _draw_contents(worksheet, formats, row, links)
    for line in notes:
        worksheet.write_string(row, 0, line, formats.note)
        row += 1
    worksheet.set_portrait()
    worksheet.fit_to_pages(1, 1)
    worksheet.print_area(0, 0, row, len(GRID) - 1)


def draw_empty_summary(workbook: Workbook, formats: Theme, dashboard: Dashboard, report: Report) -> None:
    """Add a summary with a note that there is no data."""
    worksheet = start_sheet(workbook, formats, SUMMARY, dashboard.title, report.subtitle, GRID)
    worksheet.set_row_pixels(FIRST_ROW, 30)
    worksheet.write_string(FIRST_ROW, 0, "Нет данных", formats.section)
    text = "В хранилище пока нет ни одной строки этого МРФ. Книга заполнится после первой загрузки."
    worksheet.write_string(FIRST_ROW + 1, 0, text, formats.note)
    worksheet.print_area(0, 0, FIRST_ROW + 1, len(GRID) - 1)


def data_note(rows: int, period: str, limit: int) -> str:
    """Return a description of the data sheets, with the last one's name if there are several."""
    text = f"Все строки {period}: {russian.integer(rows)}"
    sheets = data_sheet_count(rows, limit)
    if sheets == 1:
        return text
    *_, last = (name for name, _ in zip(data_sheet_names(), range(sheets), strict=False))
    return f"{text}; одного листа Excel мало, продолжение до листа «{last}»"


def _draw_insights(worksheet: Worksheet, formats: Theme, row: int, sentences: Sequence[str]) -> int:
    if not sentences:
        return row
    row = _draw_heading(worksheet, formats, row, "Главное")
    for sentence in sentences:
        worksheet.set_row_pixels(row, 24)
        write_text(worksheet, row, 0, f"•  {sentence}", formats.plain, formats.insight)
        row += 1
    return row + 1


def _draw_contents(worksheet: Worksheet, formats: Theme, row: int, links: Sequence[tuple[str, str]]) -> int:
    row = _draw_heading(worksheet, formats, row, "Листы книги")
    for below, (name, text) in enumerate(links):
        worksheet.write_url(row + below, 0, link_to(name), formats.link, name)
        worksheet.write_string(row + below, 1, text, formats.plain)
    return row + len(links) + 1


def _draw_heading(worksheet: Worksheet, formats: Theme, row: int, text: str) -> int:
    worksheet.set_row_pixels(row, 28)
    worksheet.write_string(row, 0, text, formats.heading)
    for column in range(1, len(GRID)):
        worksheet.write_blank(row, column, None, formats.heading)
    return row + 1
