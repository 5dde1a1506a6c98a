"""Exports one MRF: marts and workbooks from one snapshot, or workbooks from published marts."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from psycopg import errors

from crmbot_core.contracts import stream_named
from crmbot_core.errors import TransientError
from crmbot_core.telemetry import Logger
from crmbot_core.warehouse import Connection, snapshot
from crmbot_exporter import marts
from crmbot_exporter.files import replaced, require_folder
from crmbot_exporter.frames import records
from crmbot_exporter.layout import EXCEL_ROWS, Dashboard
from crmbot_exporter.marts import Marts, Wanted
from crmbot_exporter.report import Report, stamp
from crmbot_exporter.rows import count_rows, read_rows, rows_of, write_rows
from crmbot_exporter.settings import ExporterSettings
from crmbot_exporter.summary import data_note
from crmbot_exporter.workbook import write_workbook


def export(
    settings: ExporterSettings, dashboards: Sequence[Dashboard], log: Logger, row_limit: int = EXCEL_ROWS
) -> list[Path]:
    """Save workbooks from one snapshot and return their paths.

    Without a run of the DAG, the export builds the marts, writes the workbooks, publishes the marts and then
    replaces the old workbooks: an earlier failure leaves the old marts and the old workbooks. In a run of the
    DAG it reads the marts that this run has published; if another run's are published, it builds marts for
    the workbooks alone. `row_limit` is the number of rows, header included, that fit on one data sheet.

    Raises:
        ConfigurationError: if a setting, a table or a privilege is missing.
        TransientError: if the warehouse fails, or another export publishes at the same time.
        CrmBotError: if a workbook cannot be written.
    """
    started = time.monotonic()
    require_folder(settings.output_dir)
    paths = [settings.staged(dashboard.name) for dashboard in dashboards]
    if settings.run_id:
        settings.run_folder.mkdir(exist_ok=True)
    contents = _published_contents(settings, dashboards) if settings.run_id else None
    with ExitStack() as files, snapshot(settings) as connection:
        made = None
        if contents is None:
            made = _build(connection, settings, log)
            contents = _contents(connection, settings, made, dashboards)
        report, frames = contents
        for dashboard, path in zip(dashboards, paths, strict=True):
            file = files.enter_context(replaced(path))
            rows = _write(connection, settings, dashboard, report, frames, file, row_limit)
            log.info("workbook written", stream=dashboard.name, mrf=settings.mrf, path=str(path), rows=rows)
        if made and not settings.run_id:
            _publish(connection, made, report, log)
    log.info("exported", mrf=settings.mrf, seconds=round(time.monotonic() - started, 2))
    return paths


def rebuild_marts(settings: ExporterSettings, log: Logger) -> None:
    """Rebuild the marts and publish them."""
    with snapshot(settings) as connection:
        made = _build(connection, settings, log)
        _publish(connection, made, marts.read_report(connection, settings.zone, made), log)


Contents = tuple[Report, dict[str, pd.DataFrame]]


def _build(connection: Connection, settings: ExporterSettings, log: Logger) -> Marts:
    started = time.monotonic()
    wanted = Wanted(settings.mrf, settings.timezone, settings.report_day, settings.run_id)
    made = marts.build(connection, settings.sql_dir, wanted)
    seconds = round(time.monotonic() - started, 2)
    log.info("marts built", mrf=settings.mrf, marts=len(made.names), seconds=seconds)
    return made


def _publish(connection: Connection, made: Marts, report: Report, log: Logger) -> None:
    """Publish the marts, unless the published ones report on a later day."""
    newest = _published_day(connection, made.mrf)
    if report.days and newest and report.days.day < newest:
        log.info("marts of a later day stay in place", mrf=made.mrf, day=newest.isoformat())
        return
    marts.publish(connection, made)


def _published_day(connection: Connection, mrf: str) -> date | None:
    try:
        with connection.transaction():
            rows = records(marts.fetch(connection, marts.published(mrf).table("report")))
    except errors.UndefinedTable:
        return None
    if not rows:
        # The table was committed after this snapshot, which sees it without its row.
        raise TransientError("another export has just published its marts")
    day: date | None = rows[0]["day"]
    return day


def _published_contents(settings: ExporterSettings, dashboards: Sequence[Dashboard]) -> Contents | None:
    """Return the contents of the published marts, or None if this run has not published them."""
    built = marts.published(settings.mrf)
    with snapshot(settings) as connection:
        try:
            with connection.transaction():
                marts.hold(connection, settings.mrf)
                (run,) = marts.fetch(connection, built.table("report"))["run"]
        except errors.UndefinedTable:
            return None
        return _contents(connection, settings, built, dashboards) if run == settings.run_id else None


def _contents(
    connection: Connection, settings: ExporterSettings, built: Marts, dashboards: Sequence[Dashboard]
) -> Contents:
    orders = {mart: order for dashboard in dashboards for mart, order in dashboard.orders.items()}
    frames = {mart: marts.fetch(connection, built.table(mart), order) for mart, order in orders.items()}
    return marts.read_report(connection, settings.zone, built), frames


def _write(
    connection: Connection,
    settings: ExporterSettings,
    dashboard: Dashboard,
    report: Report,
    frames: dict[str, pd.DataFrame],
    file: BinaryIO,
    row_limit: int,
) -> int:
    """Write one workbook and return the number of rows on its data sheets."""
    of_month = settings.data_rows == "month"
    rows = rows_of(stream_named(dashboard.name), report, of_month=of_month)
    count = count_rows(connection, rows)
    period = f"за {report.days.period}" if report.days and of_month else "хранилища по последний день отчёта"
    read = partial(read_rows, connection, rows, dashboard.data, settings.timezone)
    write_workbook(
        file,
        dashboard,
        report,
        frames,
        stamp(report.offsets),
        data_note(count, period, row_limit),
        lambda workbook, formats: write_rows(workbook, formats, dashboard.data, read(), row_limit),
    )
    return count
