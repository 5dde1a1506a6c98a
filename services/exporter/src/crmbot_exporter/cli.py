"""The command line of the exporter."""

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TypeVar

import click

from crmbot_core.contracts import STREAMS
from crmbot_core.lifecycle import exit_codes, stop_on_signals
from crmbot_core.settings import LogSettings, load
from crmbot_core.telemetry import Logger, configure_logging
from crmbot_exporter.retry import retried
from crmbot_exporter.settings import ExporterSettings, PlanSettings, RussiaSettings, WatchSettings

_SERVICE = "crmbot-exporter"
_EPILOG = (
    "Settings are environment variables: docs/settings.md. Exit codes: 0 done, 1 failed, worth another try, "
    "2 wrong settings, 3 the warehouse refuses the data."
)
Settings = TypeVar("Settings", bound=LogSettings)


# An option overrides the environment variable of its setting.
_mrf = click.option("--mrf", help="Macro-regional branch, such as mrf1; or MRF.")
_output_dir = click.option("--output-dir", help="Folder of the workbooks; or OUTPUT_DIR.")
_day = click.option("--day", "report_day", help="Last day of the report, as YYYY-MM-DD; or REPORT_DAY.")
_run_id = click.option("--run-id", help="Run of the DAG; or RUN_ID.")
_data_rows = click.option("--data", "data_rows", help="Rows of the data sheets: all or month; or DATA_ROWS.")
_stream = click.option("--stream", type=click.Choice(list(STREAMS)), help="Only this one; both if left out.")


# Commands import their modules when they run: pandas and XlsxWriter take seconds to import.
@click.group(epilog=_EPILOG)
@click.version_option(package_name=_SERVICE)
def main() -> None:
    """Build the data marts of one MRF in the warehouse and save its Excel dashboards."""


@main.command(epilog=_EPILOG)
@_mrf
@_output_dir
@_stream
@_day
@_data_rows
@_run_id
def export(stream: str | None, **options: str | None) -> None:
    """Rebuild the marts and save actions_<mrf>.xlsx and nature_<mrf>.xlsx."""

    def action(settings: ExporterSettings, log: Logger) -> None:
        from crmbot_exporter.dashboards import DASHBOARDS
        from crmbot_exporter.export import export as export_dashboards

        chosen = [DASHBOARDS[name] for name in ([stream] if stream else STREAMS)]
        for path in export_dashboards(settings, chosen, log):
            click.echo(path)

    _run(ExporterSettings, action, options)


@main.command(epilog=_EPILOG)
@_mrf
@_day
@_run_id
def marts(**options: str | None) -> None:
    """Rebuild the marts alone."""

    def action(settings: ExporterSettings, log: Logger) -> None:
        from crmbot_exporter.export import rebuild_marts

        rebuild_marts(settings, log)

    _run(ExporterSettings, action, options)


@main.command(epilog=_EPILOG)
@_mrf
@_output_dir
@_run_id
def publish(**options: str | None) -> None:
    """Put the workbooks that a run has exported in their places."""

    def action(settings: ExporterSettings, log: Logger) -> None:
        from crmbot_exporter.publish import publish_run

        for path in publish_run(settings, log):
            click.echo(path)

    _run(ExporterSettings, action, options)


@main.command(epilog=_EPILOG)
@_mrf
@_output_dir
@_stream
@click.option(
    "--format",
    "kind",
    type=click.Choice(["xlsx", "parquet", "csv"]),
    default="csv",
    show_default=True,
    help="parquet needs pyarrow: crmbot-exporter[parquet].",
)
def data(stream: str | None, kind: str, **options: str | None) -> None:
    """Save every row as actions_<mrf>_data.<format> and nature_<mrf>_data.<format>."""

    def action(settings: ExporterSettings, log: Logger) -> None:
        from crmbot_exporter.data_files import export_data

        for path in export_data(settings, [stream] if stream else list(STREAMS), kind, log):
            click.echo(path)

    _run(ExporterSettings, action, options)


@main.command(epilog=_EPILOG)
@_mrf
@click.option(
    "--file", type=click.Path(path_type=Path), required=True, help="CSV: docs/dashboards.md has its columns."
)
def plan(file: Path, **options: str | None) -> None:
    """Load a sales plan: of each of its months it replaces what was loaded before."""

    def action(settings: PlanSettings, log: Logger) -> None:
        from crmbot_core.warehouse import snapshot
        from crmbot_exporter.plan import load_plan, read_plan

        lines = read_plan(file)
        with snapshot(settings) as connection:
            load_plan(connection, settings.mrf, lines)
        log.info("plan loaded", mrf=settings.mrf, lines=len(lines))

    _run(PlanSettings, action, options)


@main.command("export-russia", epilog=_EPILOG)
@click.option(
    "--mrfs",
    default="mrf1,mrf2,mrf3,mrf4,mrf5,mrf6,mrf7",
    show_default=True,
    help="MRFs to compare, with commas and no spaces.",
)
@_output_dir
def export_russia_command(mrfs: str, **options: str | None) -> None:
    """Save russia.xlsx: all MRFs side by side, from the marts that their exports have published."""

    def action(settings: RussiaSettings, log: Logger) -> None:
        from crmbot_exporter.russia import export_russia

        click.echo(export_russia(settings, mrfs.split(","), log))

    _run(RussiaSettings, action, options)


@main.command("watch", epilog=_EPILOG)
@_mrf
@_output_dir
def watch_command(**options: str | None) -> None:
    """Serve the workbooks' age and size as metrics until stopped."""
    from crmbot_exporter.watch import watch

    with exit_codes(_SERVICE):
        settings = load(WatchSettings, **options)
        watch(settings, stop_on_signals(), configure_logging(settings, _SERVICE))


def _run(
    kind: type[Settings], action: Callable[[Settings, Logger], None], options: Mapping[str, str | None]
) -> None:
    """Run a command's action, with retries after transient failures."""
    with exit_codes(_SERVICE):
        settings = load(kind, **options)
        log = configure_logging(settings, _SERVICE)
        signal.signal(signal.SIGTERM, _exit_on_signal)
        retried(lambda: action(settings, log), log)


def _exit_on_signal(signum: int, _frame: FrameType | None) -> None:
    # SystemExit unwinds the stack: the transaction is rolled back and temporary files are removed.
    sys.exit(128 + signum)
