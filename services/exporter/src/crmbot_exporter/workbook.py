"""Puts a workbook together: summary, dashboard sheets, data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import pandas as pd
from xlsxwriter import Workbook

from crmbot_exporter import theme
from crmbot_exporter.charts import with_filled_charts
from crmbot_exporter.files import scratch_folder
from crmbot_exporter.labels import mrf_title
from crmbot_exporter.layout import EXCEL_ROWS, Dashboard, period
from crmbot_exporter.rows import Row, write_rows
from crmbot_exporter.sheets import draw_sheet
from crmbot_exporter.summary import draw_empty_summary, draw_summary
from crmbot_exporter.theme import Theme


@dataclass(frozen=True)
class Subject:
    """Whose data a workbook shows, and in which time zone."""

    mrf: str
    zone: ZoneInfo


def write_workbook(
    file: BinaryIO,
    dashboard: Dashboard,
    subject: Subject,
    frames: Mapping[str, pd.DataFrame],
    rows: Iterable[Row],
    row_limit: int = EXCEL_ROWS,
) -> int:
    """Write a whole workbook to an open file and return the number of rows on its data sheets.

    Args:
        file: binary file, written once from its start.
        dashboard: what to draw.
        subject: whose data it is.
        frames: the dashboard's marts by name, rows in the order of their sheets.
        rows: the data sheets' rows as `read_rows` yields them; read once, memory does not grow with them.
        row_limit: rows that fit on one data sheet, header included.
    """
    figures = dict(frames[dashboard.summary].iloc[0])
    is_empty = figures["rows_total"] == 0
    subtitle = mrf_title(subject.mrf) if is_empty else subtitle_of(subject, figures)
    with scratch_folder() as scratch:
        workbook = Workbook(
            file,
            {
                "constant_memory": True,
                "tmpdir": str(scratch),
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "default_format_properties": {"font_name": theme.FONT, "font_size": 10},
            },
        )
        workbook.use_zip64()
        workbook.set_properties({"title": dashboard.title, "subject": subtitle, "author": "crm-bot"})
        formats = Theme(workbook)
        if is_empty:
            draw_empty_summary(workbook, formats, dashboard, subtitle)
        else:
            sheets = [with_filled_charts(sheet, frames[sheet.mart]) for sheet in dashboard.sheets]
            shown = replace(dashboard, sheets=tuple(sheets))
            draw_summary(workbook, formats, shown, frames, figures, subtitle, row_limit)
            for sheet in shown.sheets:
                draw_sheet(workbook, formats, sheet, frames[sheet.mart], subtitle)
        written = write_rows(workbook, formats, dashboard.data, rows, row_limit)
        workbook.close()
    return written


def subtitle_of(subject: Subject, figures: Mapping[str, Any]) -> str:
    """Return the line below a sheet's title: whose data, of which period, loaded until when."""
    loaded_at: datetime = figures["loaded_at"].astimezone(subject.zone)
    return (
        f"{mrf_title(subject.mrf)}  ·  период: {period(figures['first_day'], figures['last_day'])}  ·  "
        f"данные на {loaded_at:%d.%m.%Y %H:%M} ({subject.zone.key})"
    )
