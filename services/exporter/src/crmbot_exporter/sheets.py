"""Draws a dashboard's sheets: title, charts, table."""

from collections.abc import Sequence

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.utility import xl_range, xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from crmbot_exporter import theme
from crmbot_exporter.cells import number, write_value
from crmbot_exporter.charts import draw_chart
from crmbot_exporter.layout import (
    CHART_ROW,
    Column,
    Kind,
    Sheet,
    chart_boxes,
    column_widths,
    fits_one_page,
    table_row,
)
from crmbot_exporter.theme import Theme

_A4 = 9


def start_sheet(
    workbook: Workbook, formats: Theme, name: str, title: str, subtitle: str, widths: Sequence[int]
) -> Worksheet:
    """Add a sheet with its columns, its title band and its print set-up: A4, landscape, one page wide."""
    worksheet = workbook.add_worksheet(name)
    worksheet.hide_gridlines(2)
    for column, width in enumerate(widths):
        worksheet.set_column_pixels(column, column, width)
    worksheet.set_row_pixels(0, 40)
    worksheet.set_row_pixels(1, 24)
    for row, (text, cell) in enumerate([(title, formats.title), (subtitle, formats.subtitle)]):
        worksheet.write_string(row, 0, text, cell)
        for column in range(1, len(widths)):
            worksheet.write_blank(row, column, None, cell)
    set_page(worksheet)
    return worksheet


def set_page(worksheet: Worksheet) -> None:
    """Print on A4, landscape, one page wide, with the sheet's name and page number below."""
    worksheet.set_landscape()
    worksheet.set_paper(_A4)
    worksheet.fit_to_pages(1, 0)
    worksheet.set_margins(left=0.4, right=0.4, top=0.4, bottom=0.6)
    worksheet.center_horizontally()
    worksheet.set_footer("&L&8&F · &A&R&8&P / &N")


def draw_sheet(workbook: Workbook, formats: Theme, sheet: Sheet, frame: pd.DataFrame, subtitle: str) -> None:
    """Add one sheet of a dashboard; `frame` holds the mart's rows in the sheet's order."""
    worksheet = start_sheet(
        workbook, formats, sheet.name, sheet.title, subtitle, column_widths(sheet.columns)
    )
    if frame.empty:
        worksheet.write_string(CHART_ROW, 0, "Нет данных", formats.note)
        worksheet.print_area(0, 0, CHART_ROW, len(sheet.columns) - 1)
        return
    for chart, (left, width) in zip(sheet.charts, chart_boxes(len(sheet.charts)), strict=True):
        drawn = draw_chart(workbook, sheet, chart, frame, (width, sheet.chart_height))
        worksheet.insert_chart(CHART_ROW, 0, drawn, {"x_offset": left, "object_position": 1})
    end = _draw_table(worksheet, formats, sheet, frame)
    if sheet.note:
        worksheet.write_string(end + 1, 0, sheet.note, formats.note)
    worksheet.fit_to_pages(1, 1 if fits_one_page(sheet, len(frame)) else 0)
    worksheet.repeat_rows(table_row(sheet))
    worksheet.print_area(0, 0, end + (1 if sheet.note else 0), len(sheet.columns) - 1)


def _draw_table(worksheet: Worksheet, formats: Theme, sheet: Sheet, frame: pd.DataFrame) -> int:
    """Write the table from top to bottom, as XlsxWriter's constant_memory wants it; return its last row."""
    header = table_row(sheet)
    worksheet.set_row_pixels(header, 40)
    for index, column in enumerate(sheet.columns):
        worksheet.write_string(header, index, column.title, formats.header(column.kind))
    ordered = frame[[column.name for column in sheet.columns]]
    last = header
    for last, values in enumerate(ordered.itertuples(index=False, name=None), header + 1):
        for index, (column, value) in enumerate(zip(sheet.columns, values, strict=True)):
            write_value(worksheet, last, index, column, value, formats.plain, formats.cell(column.kind))
    _add_bars_and_scales(worksheet, sheet.columns, header + 1, last)
    if not any(column.has_total for column in sheet.columns):
        return last
    _draw_totals(worksheet, formats, sheet, frame, last + 1)
    return last + 1


def _draw_totals(worksheet: Worksheet, formats: Theme, sheet: Sheet, frame: pd.DataFrame, row: int) -> None:
    sums = {
        column.name: sum(number(value) or 0.0 for value in frame[column.name])
        for column in sheet.columns
        if column.has_total
    }
    for index, column in enumerate(sheet.columns):
        cell = formats.total(column.kind)
        if column.has_total:
            cells = xl_range(table_row(sheet) + 1, index, row - 1, index)
            worksheet.write_formula(row, index, f"=SUM({cells})", cell, sums[column.name])
        elif column.total_ratio:
            above, below = (sums[name] for name in column.total_ratio)
            quotient = "/".join(
                xl_rowcol_to_cell(row, sheet.column_index(name)) for name in column.total_ratio
            )
            value = above / below if below else ""
            worksheet.write_formula(row, index, f'=IFERROR({quotient},"")', cell, value)
        elif index == 0:
            worksheet.write_string(row, index, "Итого", formats.total(Kind.TEXT))
        else:
            worksheet.write_blank(row, index, None, cell)


def _add_bars_and_scales(worksheet: Worksheet, columns: Sequence[Column], first: int, last: int) -> None:
    for index, column in enumerate(columns):
        if column.has_bars:
            bar = {
                "type": "data_bar",
                "bar_color": theme.BAR,
                "bar_solid": True,
                "min_type": "num",
                "min_value": 0,
                "data_bar_2010": True,
            }
            worksheet.conditional_format(first, index, last, index, bar)
    scaled = [index for index, column in enumerate(columns) if column.has_scale]
    if scaled:
        low, middle, high = theme.SCALE
        scale = {"type": "3_color_scale", "min_color": low, "mid_color": middle, "max_color": high}
        worksheet.conditional_format(first, scaled[0], last, scaled[-1], scale)
