"""The command line: `crmbot-exporter export`, `marts` and `watch`."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import click

from crmbot_core.contracts import STREAMS
from crmbot_core.lifecycle import exit_codes, stop_on_signals
from crmbot_core.settings import load
from crmbot_core.telemetry import Logger, configure_logging
from crmbot_exporter.layout import Dashboard
from crmbot_exporter.settings import ExporterSettings, WatchSettings

_SERVICE = "crmbot-exporter"
_EPILOG = (
    "Settings are environment variables: docs/settings.md. Exit codes: 0 done, 1 failed, worth another try, "
    "2 wrong settings, 3 the warehouse refuses the data."
)
_mrf = click.option("--mrf", help="Macro-regional branch, such as mrf1; or MRF.")
_stream = click.option("--stream", type=click.Choice(list(STREAMS)), help="Only this one; both if left out.")


@click.group(epilog=_EPILOG)
@click.version_option(package_name=_SERVICE)
def main() -> None:
    """Build the data marts of one MRF in the warehouse and save its Excel dashboards."""


@main.command(epilog=_EPILOG)
@_mrf
@click.option("--output-dir", help="Folder of the workbooks; or OUTPUT_DIR.")
@_stream
def export(mrf: str | None, output_dir: str | None, stream: str | None) -> None:
    """Rebuild the marts and save actions_<mrf>.xlsx and nature_<mrf>.xlsx."""

    def export_one(settings: ExporterSettings, dashboard: Dashboard, log: Logger) -> None:
        from crmbot_exporter.export import export_stream

        click.echo(export_stream(settings, dashboard, log))

    _run(export_one, stream, MRF=mrf, OUTPUT_DIR=output_dir)


@main.command(epilog=_EPILOG)
@_mrf
@_stream
def marts(mrf: str | None, stream: str | None) -> None:
    """Rebuild the marts alone."""

    def rebuild_one(settings: ExporterSettings, dashboard: Dashboard, log: Logger) -> None:
        from crmbot_exporter.export import rebuild_marts

        rebuild_marts(settings, dashboard, log)

    _run(rebuild_one, stream, MRF=mrf)


@main.command("watch", epilog=_EPILOG)
@_mrf
@click.option("--output-dir", help="Folder of the workbooks; or OUTPUT_DIR.")
def watch_command(mrf: str | None, output_dir: str | None) -> None:
    """Serve the workbooks' age and size as metrics until told to stop."""
    from crmbot_exporter.watch import watch

    with exit_codes(_SERVICE):
        _set(MRF=mrf, OUTPUT_DIR=output_dir)
        settings = load(WatchSettings)
        watch(settings, stop_on_signals(), configure_logging(settings, _SERVICE))


def _set(**given: str | None) -> None:
    """Let options take the place of their variables."""
    os.environ.update({name: value for name, value in given.items() if value is not None})


def _run(
    action: Callable[[ExporterSettings, Dashboard, Logger], None], stream: str | None, **given: str | None
) -> None:
    """Run an action for each stream; `given` are options that take the place of their variables."""
    with exit_codes(_SERVICE):
        _set(**given)
        settings = load(ExporterSettings)
        log = configure_logging(settings, _SERVICE)
        signal.signal(signal.SIGTERM, _end)
        # Not before: pandas and what else draws workbooks takes seconds to import.
        from crmbot_exporter.dashboards import DASHBOARDS
        from crmbot_exporter.export import retried

        for dashboard in DASHBOARDS.values():
            if stream in (None, dashboard.stream):
                retried(partial(action, settings, dashboard, log), log)


def _end(signum: int, frame: FrameType | None) -> None:
    # As an exception, so that the transaction is rolled back and temporary files are removed.
    sys.exit(128 + signum)
