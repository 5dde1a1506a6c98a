"""Puts the workbooks of a run of the DAG in their place, and keeps one of every month.

A folder holds `actions_mrf1.xlsx`, the newest, and `2026-03/actions_mrf1.xlsx`, the newest of each month. A
workbook says in its properties which day it reports on; one of an earlier day never replaces one of a later
day, whatever the order in which runs end. `.published-mrf1` lists the newest runs that have published.
"""

import fcntl
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from crmbot_core.errors import ConfigurationError
from crmbot_core.telemetry import Logger
from crmbot_exporter.files import replaced, require_folder
from crmbot_exporter.settings import ExporterSettings
from crmbot_exporter.workbook import REPORT_DAY

_RUNS_LISTED = 100


def publish_run(settings: ExporterSettings, log: Logger) -> list[Path]:
    """Put the workbooks of the run `settings.run_id` in their places; return which were replaced.

    A second try goes on where the first one ended, and has nothing to do if that was the end.

    Raises:
        ConfigurationError: if the run has not exported any, or the folder is closed to us.
    """
    if not settings.run_id:
        raise ConfigurationError("RUN_ID: not set; without a run there is nothing to publish")
    require_folder(settings.output_dir)
    published = []
    with _one_at_a_time(settings.output_dir):
        staged = sorted(settings.run_folder.glob("*.xlsx"))
        runs = _published_runs(settings.published_runs)
        if not staged:
            if settings.run_folder.name in runs:
                log.info("this run has published its workbooks before", run=settings.run_id)
                return []
            raise ConfigurationError(
                f"{settings.run_folder} has no workbooks: run `crmbot-exporter export` first"
            )
        for workbook in staged:
            day = report_day(workbook)
            places = [settings.output_dir / workbook.name]
            if day:
                places.append(settings.output_dir / f"{day:%Y-%m}" / workbook.name)
            for place in places:
                if (report_day(place) or date.min) > (day or date.min):
                    log.info("a workbook of a later day stays in place", path=str(place))
                    continue
                _make_folder(place.parent)
                with workbook.open("rb") as source, replaced(place) as target:
                    shutil.copyfileobj(source, target)
                published.append(place)
        with replaced(settings.published_runs) as file:
            file.writelines(f"{run}\n".encode() for run in [*runs, settings.run_folder.name][-_RUNS_LISTED:])
        shutil.rmtree(settings.run_folder)
    return published


def report_day(path: Path) -> date | None:
    """Return the day that a workbook reports on; None if there is no workbook or it does not say."""
    try:
        with zipfile.ZipFile(path) as parts:
            properties = ElementTree.fromstring(parts.read("docProps/custom.xml"))
    except (FileNotFoundError, NotADirectoryError, KeyError, zipfile.BadZipFile):
        return None
    for entry in properties:
        if entry.get("name") == REPORT_DAY:
            return date.fromisoformat("".join(entry.itertext()))
    return None


def _published_runs(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made: {error.strerror}; check OUTPUT_DIR") from error


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep others from comparing and replacing in this folder meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
