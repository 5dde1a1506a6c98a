"""Writes a workbook: summary, dashboard sheets, drill-downs, data."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from xlsxwriter import Workbook

from crmbot_exporter import theme
from crmbot_exporter.charts import is_filled
from crmbot_exporter.drilldown import draw_drilldown, rows_of
from crmbot_exporter.files import scratch_folder
from crmbot_exporter.frames import Frames, records
from crmbot_exporter.layout import Dashboard, Placed, Sheet, sheet_names
from crmbot_exporter.report import Report
from crmbot_exporter.sheets import SUMMARY, draw_sheet
from crmbot_exporter.summary import draw_empty_summary, draw_summary
from crmbot_exporter.theme import Theme

REPORT_DAY = "report_day"  # document property: the report's last day
_RESERVED = (SUMMARY, "Данные", "History")  # Excel reserves the last


def write_workbook(
    file: BinaryIO,
    dashboard: Dashboard,
    report: Report,
    frames: Frames,
    notes: Sequence[str] = (),
    data_note: str = "",
    write_data: Callable[[Workbook, Theme], object] | None = None,
) -> None:
    """Write a whole workbook to an open file.

    Args:
        file: binary file, written once from its start.
        dashboard: the dashboard's declaration.
        report: the report that the workbook shows.
        frames: the dashboard's marts by name, sorted as their tables.
        notes: lines at the end of the summary.
        data_note: description of the data sheet, for the summary.
        write_data: function that adds the data sheets.
    """
    with scratch_folder() as scratch:
        workbook = new_workbook(file, scratch)
        subject = f"{report.title}, {report.days.period}" if report.days else report.title
        workbook.set_properties(
            {"title": dashboard.title, "subject": subject, "author": "crm-bot", "comments": "\n".join(notes)}
        )
        if report.days:
            workbook.set_custom_property(REPORT_DAY, report.days.day.isoformat())
        formats = Theme(workbook)
        if report.days is None:
            draw_empty_summary(workbook, formats, dashboard, report)
        else:
            _draw_sheets(workbook, formats, dashboard, report, frames, notes, data_note)
        if write_data:
            write_data(workbook, formats)
        workbook.close()


def new_workbook(file: BinaryIO, scratch: Path) -> Workbook:
    """Return a workbook in constant memory that never turns text into a formula, a link or a number."""
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
    return workbook


def _draw_sheets(
    workbook: Workbook,
    formats: Theme,
    dashboard: Dashboard,
    report: Report,
    frames: Frames,
    notes: Sequence[str],
    data_note: str,
) -> None:
    placed = {sheet.mart: place(sheet, frames[sheet.mart]) for sheet in dashboard.sheets}
    drilldown = dashboard.drilldown
    parents = frames[drilldown.of] if drilldown else pd.DataFrame()
    keys = parents[drilldown.key] if drilldown else ()
    taken = [*_RESERVED, *(sheet.name for sheet in dashboard.sheets)]
    names = sheet_names(map(str, keys), taken)
    draw_summary(workbook, formats, dashboard, report, frames, placed, notes, data_note)
    for mart, table in placed.items():
        links = names if drilldown and mart == drilldown.of else {}
        draw_sheet(workbook, formats, table, report.subtitle, links)
    if drilldown is None:
        return
    back = dashboard.sheet(drilldown.of).name
    days = placed[drilldown.days]
    for row in records(parents):
        key = str(row[drilldown.key])
        parent_days = replace(days, rows=rows_of(days.frame, drilldown.key, key))
        draw_drilldown(workbook, formats, drilldown, names[key], row, parent_days, frames, report, back)


def place(sheet: Sheet, frame: pd.DataFrame) -> Placed:
    """Return a sheet with its rows, without charts that would be empty."""
    whole = Placed(sheet, frame, range(len(frame)))
    charts = tuple(chart for chart in sheet.charts if is_filled(chart, whole))
    return replace(whole, sheet=replace(sheet, charts=charts))
