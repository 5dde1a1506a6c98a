"""Draws a dashboard's sheets: title, charts, table."""

from collections.abc import Mapping, Sequence

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.utility import quote_sheetname, xl_range, xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from crmbot_exporter import theme
from crmbot_exporter.cells import is_plain, number, write_text, write_value
from crmbot_exporter.charts import draw_chart
from crmbot_exporter.layout import (
    FIRST_ROW,
    Chart,
    Column,
    Kind,
    Placed,
    Table,
    boxes,
    column_widths,
    fits_one_page,
    header_height,
    table_row,
)
from crmbot_exporter.theme import Theme

_A4 = 9
SUMMARY = "Сводка"


def link_to(sheet: str) -> str:
    """Return the address of a sheet of the same workbook, for `write_url`."""
    return f"internal:{quote_sheetname(sheet)}!A1"


def start_sheet(
    workbook: Workbook,
    formats: Theme,
    name: str,
    title: str,
    subtitle: str,
    widths: Sequence[int],
    back: str = "",
) -> Worksheet:
    """Add a sheet with column widths, title band, page setup and a link back to another sheet."""
    worksheet = workbook.add_worksheet(name)
    worksheet.hide_gridlines(2)
    for column, width in enumerate(widths):
        worksheet.set_column_pixels(column, column, width, None, {} if width else {"hidden": True})
    worksheet.set_row_pixels(0, 40)
    worksheet.set_row_pixels(1, 24)
    last = max(column for column, width in enumerate(widths) if width)
    for row, (text, cell) in enumerate([(title, formats.title), (subtitle, formats.subtitle)]):
        write_text(worksheet, row, 0, text, formats.plain, cell)
        for column in range(1, last + 1):
            worksheet.write_blank(row, column, None, cell)
    if back:
        worksheet.write_url(2, 0, link_to(back), formats.link, f"← {back}")
    set_page(worksheet)
    return worksheet


def set_page(worksheet: Worksheet) -> None:
    """Set up printing on A4, landscape, one page wide, with file, sheet and page number in the footer."""
    worksheet.set_landscape()
    worksheet.set_paper(_A4)
    worksheet.fit_to_pages(1, 0)
    worksheet.set_margins(left=0.4, right=0.4, top=0.4, bottom=0.6)
    worksheet.center_horizontally()
    worksheet.set_footer("&L&8&F · &A&R&8&P / &N")


def insert_charts(
    workbook: Workbook,
    worksheet: Worksheet,
    row: int,
    charts: Sequence[tuple[Chart, Placed]],
    height: int,
) -> None:
    """Insert charts, each paired with its table, side by side across the width of the sheet."""
    for (chart, placed), (left, width) in zip(charts, boxes(len(charts)), strict=True):
        drawn = draw_chart(workbook, chart, placed, (width, height))
        worksheet.insert_chart(row, 0, drawn, {"x_offset": left, "object_position": 1})


def draw_sheet(
    workbook: Workbook,
    formats: Theme,
    placed: Placed,
    subtitle: str,
    links: Mapping[str, str],
) -> None:
    """Add one sheet of a dashboard; `links` maps values of its first column to the sheets they link to."""
    sheet, frame = placed.sheet, placed.frame
    widths = column_widths(sheet.columns)
    worksheet = start_sheet(workbook, formats, sheet.name, sheet.title, subtitle, widths, SUMMARY)
    if frame.empty:
        worksheet.write_string(FIRST_ROW, 0, "Нет данных", formats.note)
        worksheet.print_area(0, 0, FIRST_ROW, len(sheet.columns) - 1)
        return
    charts = [(chart, placed) for chart in sheet.charts]
    insert_charts(workbook, worksheet, FIRST_ROW, charts, sheet.chart_height)
    header = table_row(sheet)
    end = draw_table(worksheet, formats, sheet, frame, widths, header, links)
    if not sheet.charts:
        worksheet.freeze_panes(header + 1, 0)
    if sheet.note:
        worksheet.write_string(end + 1, 0, sheet.note, formats.note)
    worksheet.fit_to_pages(1, 1 if fits_one_page(sheet, len(frame)) else 0)
    worksheet.repeat_rows(header)
    worksheet.print_area(0, 0, end + (1 if sheet.note else 0), len(sheet.columns) - 1)


def draw_table(
    worksheet: Worksheet,
    formats: Theme,
    table: Table,
    frame: pd.DataFrame,
    widths: Sequence[int],
    header: int,
    links: Mapping[str, str],
) -> int:
    """Write a table from top to bottom, as constant_memory requires; return its last row."""
    shown = [column for column in table.columns if column.is_shown]
    titles, shown_widths = [column.title for column in shown], widths[: len(shown)]
    worksheet.set_row_pixels(header, header_height(titles, shown_widths))
    for index, column in enumerate(table.columns):
        worksheet.write_string(header, index, column.title, formats.header(column.kind))
    ordered = frame[[column.name for column in table.columns]]
    last = header
    for last, values in enumerate(ordered.itertuples(index=False, name=None), header + 1):
        for index, (column, value) in enumerate(zip(table.columns, values, strict=True)):
            if index == 0 and value in links and is_plain(value):
                address = link_to(links[value])
                worksheet.write_url(last, index, address, formats.cell_link(column.kind), value)
            else:
                write_value(worksheet, last, index, column, value, formats.plain, formats.cell(column.kind))
    _add_bars_and_scales(worksheet, formats, table.columns, header + 1, last)
    if len(frame) < 2 or not any(column.has_total for column in table.columns):
        return last
    _draw_totals(worksheet, formats, table, frame, header, last + 1)
    return last + 1


def _draw_totals(
    worksheet: Worksheet, formats: Theme, table: Table, frame: pd.DataFrame, header: int, row: int
) -> None:
    sums = {
        column.name: sum(number(value) or 0.0 for value in frame[column.name])
        for column in table.columns
        if column.has_total
    }
    for index, column in enumerate(table.columns):
        cell = formats.total(column.kind)
        if column.has_total:
            cells = xl_range(header + 1, index, row - 1, index)
            worksheet.write_formula(row, index, f"=SUM({cells})", cell, sums[column.name])
        elif column.total_ratio:
            above, below = (sums[name] for name in column.total_ratio)
            quotient = "/".join(
                xl_rowcol_to_cell(row, table.column_index(name)) for name in column.total_ratio
            )
            less = 1 if column.kind is Kind.CHANGE else 0
            value = above / below - less if below else ""
            formula = f'=IFERROR({quotient}{"-1" if less else ""},"")'
            worksheet.write_formula(row, index, formula, cell, value)
        elif index == 0:
            worksheet.write_string(row, index, "Итого", formats.total(Kind.TEXT))
        else:
            worksheet.write_blank(row, index, None, cell)


def _add_bars_and_scales(
    worksheet: Worksheet, formats: Theme, columns: Sequence[Column], first: int, last: int
) -> None:
    heat = [index for index, column in enumerate(columns) if column.scale == "heat"]
    if heat:
        colours = dict(zip(("min_color", "mid_color", "max_color"), theme.HEAT_SCALE, strict=True))
        scale = {"type": "3_color_scale", **colours}
        worksheet.conditional_format(first, heat[0], last, heat[-1], scale)
    for index, column in enumerate(columns):
        area = first, index, last, index
        if column.has_bars:
            bar = {
                "type": "data_bar",
                "bar_color": theme.BAR,
                "bar_solid": True,
                "min_type": "num",
                "min_value": 0,
                "data_bar_2010": True,
            }
            worksheet.conditional_format(*area, bar)
        if column.scale == "plan":
            worksheet.conditional_format(*area, _plan_scale())
        if column.kind is Kind.CHANGE:
            rise, fall = (
                (formats.better, formats.worse) if column.is_growth_good else (formats.worse, formats.better)
            )
            for criteria, look in ((">", rise), ("<", fall)):
                # Excel compares a blank cell as 0, and text as greater than any number.
                rule = {"type": "cell", "criteria": criteria, "value": 0, "format": look}
                worksheet.conditional_format(*area, rule)


def _plan_scale() -> dict[str, object]:
    low, high = theme.PLAN_ENDS
    bad, middling, good = theme.PLAN_SCALE
    return {
        "type": "3_color_scale",
        **dict.fromkeys(("min_type", "mid_type", "max_type"), "num"),
        **{"min_value": low, "mid_value": (low + high) / 2, "max_value": high},
        **{"min_color": bad, "mid_color": middling, "max_color": good},
    }
