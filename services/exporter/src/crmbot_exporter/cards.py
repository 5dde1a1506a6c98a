"""Draws key figures as cards: title, value, change against the previous period, sparkline."""

from collections.abc import Sequence

from xlsxwriter.format import Format
from xlsxwriter.utility import quote_sheetname, xl_range_abs
from xlsxwriter.worksheet import Worksheet

from crmbot_exporter import theme
from crmbot_exporter.cells import number
from crmbot_exporter.frames import Record
from crmbot_exporter.layout import CARDS, KeyFigure, Kind, Placed
from crmbot_exporter.theme import Theme

_HEIGHTS = (26, 36, 20, 34)
_GAP_HEIGHT = 12


def change(figure: KeyFigure, now: object, before: object) -> float | None:
    """Return the relative change of a figure, or for a share the difference."""
    new, old = number(now), number(before)
    if new is None or old is None:
        return None
    if figure.kind is Kind.PERCENT:
        return new - old
    return new / old - 1 if old else None


def draw_cards(
    worksheet: Worksheet,
    formats: Theme,
    row: int,
    figures: Sequence[KeyFigure],
    now: Record,
    before: Record,
    before_title: str,
    days: Placed | None,
) -> int:
    """Draw the figures, four to a row of cards, and return the row below them.

    Args:
        worksheet: a sheet with the columns of GRID, already written above `row`.
        formats: the cell formats.
        row: the first row of the cards.
        figures: the key figures to draw.
        now: the values by column.
        before: the previous period's values; columns may be missing.
        before_title: the previous period's name.
        days: the daily table that the sparklines chart; None for no sparklines.
    """
    for start in range(0, len(figures), CARDS):
        cards = [(place * 2, figure) for place, figure in enumerate(figures[start : start + CARDS])]
        for offset, height in enumerate(_HEIGHTS):
            worksheet.set_row_pixels(row + offset, height)
        for column, figure in cards:
            worksheet.merge_range(row, column, row, column + 1, figure.title, formats.card_title)
        for column, figure in cards:
            shown = number(now[figure.column])
            cell = formats.card_value(figure.kind)
            worksheet.merge_range(row + 1, column, row + 1, column + 1, "–" if shown is None else shown, cell)
        for column, figure in cards:
            value, cell = _change_cell(formats, figure, now, before, before_title)
            worksheet.merge_range(row + 2, column, row + 2, column + 1, value, cell)
        for column, figure in cards:
            worksheet.merge_range(row + 3, column, row + 3, column + 1, "", formats.card_end)
            if days and figure.trend:
                _draw_sparkline(worksheet, row + 3, column, days, figure.trend)
        worksheet.set_row_pixels(row + len(_HEIGHTS), _GAP_HEIGHT)
        row += len(_HEIGHTS) + 1
    return row


def _change_cell(
    formats: Theme, figure: KeyFigure, now: Record, before: Record, before_title: str
) -> tuple[float | str, Format]:
    """Return a change as a number, and a format that names the previous period."""
    moved = change(figure, now[figure.column], before.get(figure.column))
    if moved is None:
        text = "не с чем сравнить" if figure.column in before else ""
        return text, formats.card_change("General", theme.MUTED)
    is_points = figure.kind is Kind.PERCENT
    shown = "0.0" if is_points else "0.0%"
    compared = f'"{" п.п." if is_points else ""} к {before_title}"'
    number_format = f'"▲ "{shown}{compared};"▼ "{shown}{compared};"без изменений"'
    colour = theme.MUTED if moved == 0 else theme.GREEN if (moved > 0) == figure.is_growth_good else theme.RED
    return moved * 100 if is_points else moved, formats.card_change(number_format, colour)


def _draw_sparkline(worksheet: Worksheet, row: int, column: int, days: Placed, trend: str) -> None:
    cells = xl_range_abs(*days.trend.column_range(trend))
    worksheet.add_sparkline(
        row,
        column,
        {
            "range": f"{quote_sheetname(days.sheet.name)}!{cells}",
            "type": "column",
            "series_color": theme.LIGHT_BLUE,
            "last_point": True,
            "last_color": theme.BLUE,
            "min": 0,
        },
    )
