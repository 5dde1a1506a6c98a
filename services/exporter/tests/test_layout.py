"""Positions on a sheet, and invariants of the declarations."""

from dataclasses import replace
from datetime import date
from itertools import islice, pairwise
from typing import Literal, get_args

import pandas as pd
import pytest

from crmbot_core.contracts import STREAMS
from crmbot_exporter import layout, russian, theme
from crmbot_exporter.charts import days_between_labels
from crmbot_exporter.dashboards import DASHBOARDS
from crmbot_exporter.labels import LABELS, label, mrf_title
from crmbot_exporter.layout import SHEET_WIDTH, Chart, Column, Kind, Placed, Sheet, bars
from crmbot_exporter.summary import data_note
from crmbot_exporter.workbook import place

SHEETS = [sheet for dashboard in DASHBOARDS.values() for sheet in dashboard.sheets]


@pytest.mark.parametrize("widths", [[1], [60, 220, 140], [100] * 7, [1, 999]])
def test_columns_fill_the_sheet_exactly(widths: list[int]) -> None:
    pixels = layout.column_widths([Column("c", "C", width=width) for width in widths])
    assert sum(pixels) == SHEET_WIDTH
    assert all(pixel > 0 for pixel in pixels)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_charts_fit_side_by_side_on_the_sheet(number: int) -> None:
    boxes = layout.boxes(number)
    for (left, width), (next_left, _) in pairwise(boxes):
        assert left + width < next_left
    assert boxes[0][0] == 0
    assert SHEET_WIDTH - 5 < sum(boxes[-1]) < SHEET_WIDTH


def test_the_table_starts_below_the_charts() -> None:
    for sheet in (sheet for sheet in SHEETS if sheet.charts):
        pixels_above = (layout.table_row(sheet) - layout.FIRST_ROW) * layout.ROW_HEIGHT
        assert pixels_above > sheet.chart_height
    assert layout.table_row(replace(SHEETS[0], charts=())) == layout.FIRST_ROW


@pytest.mark.parametrize(
    ("chart", "shown"),
    [
        (Chart("bar", "", "c", ()), [0, 1, 2, 3, 4]),
        (Chart("bar", "", "c", (), top=2), [0, 1]),
        (Chart("bar", "", "c", (), top=15), [0, 1, 2, 3, 4]),
        (Chart("bar", "", "c", (), skip=1), [1, 2, 3, 4]),
        (Chart("bar", "", "c", (), last=2), [3, 4]),
        (Chart("bar", "", "c", (), last=15), [0, 1, 2, 3, 4]),
    ],
)
def test_a_chart_shows_the_rows_it_declares(chart: Chart, shown: list[int]) -> None:
    assert list(layout.charted_rows(chart, range(5))) == shown
    assert list(layout.charted_rows(chart, range(7, 12))) == [7 + row for row in shown]


def test_sparklines_show_the_last_days_of_their_table() -> None:
    placed = Placed(SHEETS[0], pd.DataFrame(), range(200, 400))
    assert placed.trend.rows == range(309, 400)
    assert replace(placed, rows=range(5, 9)).trend.rows == range(5, 9)


def test_a_chart_title_says_when_days_are_cut_off() -> None:
    chart = Chart("column", "По дням", "day", (), last=92)
    assert layout.chart_title(chart, range(92)) == "По дням"
    assert layout.chart_title(chart, range(93)) == "По дням, последние 92 дн."


def test_a_chart_without_a_value_above_zero_is_left_out() -> None:
    filled, empty = bars("a", "n", "a", theme.BLUE), bars("b", "n", "b", theme.BLUE)
    sheet = replace(SHEETS[0], charts=(filled, empty))
    frame = pd.DataFrame({"n": ["x", "y"], "a": [0, 3], "b": [None, 0]}, dtype=object)
    assert place(sheet, frame).sheet.charts == (filled,)


@pytest.mark.parametrize(
    ("rows", "sheets"), [(0, 1), (1, 1), (1_048_575, 1), (1_048_576, 2), (2_097_150, 2), (2_097_151, 3)]
)
def test_the_number_of_data_sheets_follows_excels_row_limit(rows: int, sheets: int) -> None:
    assert layout.data_sheet_count(rows) == sheets


def test_data_sheets_are_numbered_from_the_second() -> None:
    assert list(islice(layout.data_sheet_names(), 3)) == ["Данные", "Данные 2", "Данные 3"]


def test_the_summary_says_when_there_are_several_data_sheets() -> None:
    assert data_note(12_345, "за март", 1_048_576) == "Все строки за март: 12\xa0345"
    assert data_note(25, "за март", 11).endswith("продолжение до листа «Данные 3»")


def test_periods_and_mrfs_are_written_in_russian() -> None:
    assert russian.days(date(2025, 3, 1), date(2025, 3, 31), with_year=True) == "1–31\xa0марта\xa02025"
    assert russian.days(date(2025, 3, 1), date(2025, 3, 1)) == "1\xa0марта"
    assert mrf_title("mrf2") == "МРФ «Северо-Запад»"
    assert mrf_title("mrf12") == "МРФ mrf12"


@pytest.mark.parametrize(
    ("kind", "greatest", "number_format"),
    [
        (Kind.INTEGER, 5_000_000, "#,##0"),
        (Kind.PERCENT, 0.6, "0%"),
        (Kind.PERCENT, 0.04, "0.0%"),
        (Kind.ROUBLES, 900, '#,##0 "₽"'),
        (Kind.ROUBLES, 90_000, '#,##0, "тыс. ₽"'),
        (Kind.ROUBLES, 45_000_000, '#,##0.0,, "млн ₽"'),
    ],
)
def test_axis_numbers_are_abbreviated(kind: Kind, greatest: float, number_format: str) -> None:
    assert theme.axis_format(kind, greatest) == number_format


@pytest.mark.parametrize(("days", "step"), [(1, 1), (16, 1), (30, 7), (90, 7), (365, 28)])
def test_date_axes_label_every_day_or_whole_weeks(days: int, step: int) -> None:
    assert days_between_labels(days) == step


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["Тульский филиал"], ["Тульский филиал"]),
        (["Сводка", "сводка"], ["Сводка 2", "сводка 3"]),
        (["a/b:c*d?", "'x'", "", "<r>&\ufffe"], ["a b c d", "x", "-", "r"]),
        (["я" * 40, "я" * 41], ["я" * 31, "я" * 29 + " 2"]),
    ],
)
def test_any_text_gives_a_valid_sheet_name(texts: list[str], names: list[str]) -> None:
    assert list(layout.sheet_names(texts, ["Сводка"]).values()) == names


@pytest.mark.parametrize(
    ("titles", "widths", "height"),
    [(["Лиды"], [100], 24), (["Лиды", "Выручка месяцем раньше"], [100, 100], 56), (["а б в г"], [20], 72)],
)
def test_the_header_height_fits_the_longest_title(titles: list[str], widths: list[int], height: int) -> None:
    assert layout.header_height(titles, widths) == height


def test_tables_below_cards_have_no_more_columns_than_the_grid() -> None:
    assert sum(layout.GRID) == SHEET_WIDTH
    for dashboard in DASHBOARDS.values():
        if dashboard.drilldown:
            assert max(len(table.columns) for table in dashboard.drilldown.tables) <= len(layout.GRID)


@pytest.mark.parametrize("stream", STREAMS)
def test_every_code_of_the_contract_has_a_label(stream: Literal["actions", "nature"]) -> None:
    for name, field in STREAMS[stream].model.model_fields.items():
        codes = [code for code in get_args(field.annotation) if isinstance(code, str)]
        for code in codes:
            assert label(name, code) != code
        assert set(codes) <= LABELS.get(name, {}).keys() | ({"mrf"} - {name})


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.mart)
def test_charts_draw_columns_of_their_sheet(sheet: Sheet) -> None:
    names = [column.name for column in sheet.columns]
    for chart in sheet.charts:
        assert {chart.category, *(series.column for series in chart.series)} <= set(names)
    for column in sheet.columns:
        totals = {other.name for other in sheet.columns if other.has_total}
        assert set(column.total_ratio or ()) <= totals


@pytest.mark.parametrize("stream", DASHBOARDS)
def test_sheet_names_are_unique_and_short_enough_for_excel(stream: str) -> None:
    dashboard = DASHBOARDS[stream]
    names = [sheet.name for sheet in dashboard.sheets]
    assert len({*names, "Сводка", "Данные"}) == len(names) + 2
    assert max(map(len, names)) <= 31
    assert set(dashboard.featured) <= {sheet.mart for sheet in dashboard.sheets}
