"""Draws the first sheet: what the workbook is about, its key figures and what is on the other sheets."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from crmbot_exporter.cells import number
from crmbot_exporter.charts import draw_chart
from crmbot_exporter.layout import (
    GAP,
    ROW_HEIGHT,
    SHEET_WIDTH,
    Dashboard,
    KeyFigure,
    chart_boxes,
    data_sheet_count,
    data_sheet_names,
)
from crmbot_exporter.sheets import start_sheet
from crmbot_exporter.theme import Theme

NAME = "Сводка"
_CARDS = 4  # in a row
_CARD_WIDTH = (SHEET_WIDTH - GAP * (_CARDS - 1)) // _CARDS
_WIDTHS = [_CARD_WIDTH, *[GAP, _CARD_WIDTH] * (_CARDS - 1)]
_CHART_HEIGHT = 280
_FIRST_ROW = 3


def draw_summary(
    workbook: Workbook,
    formats: Theme,
    dashboard: Dashboard,
    frames: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Any],
    subtitle: str,
    row_limit: int,
) -> None:
    """Add the summary.

    Args:
        workbook: where to.
        formats: how it looks.
        dashboard: what to draw.
        frames: the marts by name.
        figures: the row of the summary mart.
        subtitle: the line below the title.
        row_limit: rows of one data sheet.
    """
    worksheet = start_sheet(workbook, formats, NAME, dashboard.title, subtitle, _WIDTHS)
    row = _draw_cards(worksheet, formats, dashboard.key_figures, figures)
    featured = [sheet for sheet in dashboard.sheets if sheet.mart in dashboard.featured and sheet.charts]
    for sheet, (left, width) in zip(featured, chart_boxes(len(featured)), strict=True):
        chart = draw_chart(workbook, sheet, sheet.charts[0], frames[sheet.mart], (width, _CHART_HEIGHT))
        worksheet.insert_chart(row, 0, chart, {"x_offset": left, "object_position": 1})
    row += _CHART_HEIGHT // ROW_HEIGHT + 1
    links = [(sheet.name, sheet.title) for sheet in dashboard.sheets]
    links.append((next(data_sheet_names()), data_note(int(figures["rows_total"]), row_limit)))
    last = _draw_contents(worksheet, formats, row, links)
    worksheet.print_area(0, 0, last, len(_WIDTHS) - 1)


def draw_empty_summary(workbook: Workbook, formats: Theme, dashboard: Dashboard, subtitle: str) -> None:
    """Add a summary that says that there is no data."""
    worksheet = start_sheet(workbook, formats, NAME, dashboard.title, subtitle, _WIDTHS)
    worksheet.set_row_pixels(_FIRST_ROW, 30)
    worksheet.write_string(_FIRST_ROW, 0, "Нет данных", formats.heading)
    text = "В хранилище пока нет ни одной строки этого МРФ. Книга заполнится после первой загрузки."
    worksheet.write_string(_FIRST_ROW + 1, 0, text, formats.note)
    worksheet.print_area(0, 0, _FIRST_ROW + 1, len(_WIDTHS) - 1)


def data_note(rows: int, limit: int) -> str:
    """Return what the data sheets hold, and on how many sheets if one is not enough."""
    text = f"Все строки за период: {rows:,}".replace(",", "\N{NO-BREAK SPACE}")
    sheets = data_sheet_count(rows, limit)
    if sheets == 1:
        return text
    *_, last = (name for name, _ in zip(data_sheet_names(), range(sheets), strict=False))
    return f"{text}; одного листа Excel мало, продолжение до листа «{last}»"


def _draw_cards(
    worksheet: Worksheet, formats: Theme, figures: Sequence[KeyFigure], values: Mapping[str, Any]
) -> int:
    row = _FIRST_ROW
    for start in range(0, len(figures), _CARDS):
        cards = list(enumerate(figures[start : start + _CARDS]))
        worksheet.set_row_pixels(row, 26)
        for place, figure in cards:
            worksheet.write_string(row, place * 2, figure.title, formats.card_title)
        worksheet.set_row_pixels(row + 1, 40)
        for place, figure in cards:
            cell = formats.card_value(figure.kind)
            value = number(values[figure.column])
            if value is None:
                worksheet.write_string(row + 1, place * 2, "–", cell)
            else:
                worksheet.write_number(row + 1, place * 2, value, cell)
        worksheet.set_row_pixels(row + 2, 14)
        row += 3
    return row


def _draw_contents(worksheet: Worksheet, formats: Theme, row: int, links: Sequence[tuple[str, str]]) -> int:
    worksheet.set_row_pixels(row, 28)
    worksheet.write_string(row, 0, "Листы книги", formats.heading)
    for column in range(1, len(_WIDTHS)):
        worksheet.write_blank(row, column, None, formats.heading)
    for below, (name, text) in enumerate(links, 1):
        worksheet.write_url(row + below, 0, f"internal:'{name}'!A1", formats.link, name)
        worksheet.write_string(row + below, 2, text, formats.plain)
    return row + len(links)
