"""Exports one stream of one MRF: marts and workbook from one snapshot of the warehouse."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from psycopg import IsolationLevel
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from crmbot_core.contracts import stream_named
from crmbot_core.errors import TransientError
from crmbot_core.telemetry import Logger
from crmbot_core.warehouse import Connection, connect, translated_errors
from crmbot_exporter import marts
from crmbot_exporter.files import replaced
from crmbot_exporter.layout import EXCEL_ROWS, Dashboard
from crmbot_exporter.rows import read_rows
from crmbot_exporter.settings import ExporterSettings
from crmbot_exporter.workbook import Subject, write_workbook

_ATTEMPTS = 5


def export_stream(
    settings: ExporterSettings, dashboard: Dashboard, log: Logger, row_limit: int = EXCEL_ROWS
) -> Path:
    """Rebuild the stream's marts and save its workbook; both show the same snapshot of the warehouse.

    The marts are published when the workbook has been written, and it takes its place right after: a failure
    before that leaves the old marts and the old workbook. `row_limit` is how many rows, header included, fit
    on one data sheet.

    Raises:
        ConfigurationError: if a setting, a table or a right is missing.
        TransientError: if the warehouse fails again and again.
        CrmBotError: if the workbook cannot be written.
    """
    started = time.monotonic()
    path = settings.workbook(dashboard.stream)
    with replaced(path) as file, snapshot(settings) as connection:
        made = _build_marts(connection, settings, dashboard, log)
        wanted = {dashboard.summary: "", **{sheet.mart: sheet.order for sheet in dashboard.sheets}}
        frames = {name: marts.fetch(connection, made.table(name), order) for name, order in wanted.items()}
        rows = read_rows(
            connection, stream_named(dashboard.stream), settings.mrf, dashboard.data, settings.timezone
        )
        subject = Subject(settings.mrf, settings.zone)
        written = write_workbook(file, dashboard, subject, frames, rows, row_limit)
        marts.publish(connection, made)
    log.info(
        "workbook written",
        stream=dashboard.stream,
        mrf=settings.mrf,
        path=str(path),
        rows=written,
        bytes=path.stat().st_size,
        seconds=round(time.monotonic() - started, 2),
    )
    return path


def rebuild_marts(settings: ExporterSettings, dashboard: Dashboard, log: Logger) -> None:
    """Rebuild the stream's marts alone."""
    with snapshot(settings) as connection:
        marts.publish(connection, _build_marts(connection, settings, dashboard, log))


def retried(action: Callable[[], None], log: Logger) -> None:
    """Run an action again, after growing pauses, while it raises TransientError; raise the last one."""

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("trying again", attempt=state.attempt_number, reason=str(error))

    for attempt in Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(min=1, max=30),
        retry=retry_if_exception_type(TransientError),
        before_sleep=report,
        reraise=True,
    ):
        with attempt:
            action()


@contextmanager
def snapshot(settings: ExporterSettings) -> Iterator[Connection]:
    """Yield a connection within a REPEATABLE READ transaction: whatever it reads is of one moment."""
    with translated_errors(), closing(connect(settings)) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            yield connection


def _build_marts(
    connection: Connection, settings: ExporterSettings, dashboard: Dashboard, log: Logger
) -> marts.Build:
    started = time.monotonic()
    made = marts.build(connection, settings.sql_dir, dashboard.stream, settings.mrf, settings.timezone)
    log.info(
        "marts built",
        stream=dashboard.stream,
        mrf=settings.mrf,
        marts=len(made.names),
        seconds=round(time.monotonic() - started, 2),
    )
    return made
