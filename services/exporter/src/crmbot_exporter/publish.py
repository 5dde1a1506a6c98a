"""Publishes the workbooks of a run of the DAG, and keeps one per month.

OUTPUT_DIR holds the newest workbook, `actions_mrf1.xlsx`, and the newest of each month,
`2026-03/actions_mrf1.xlsx`. A workbook stores the last day of its report in its properties; it never replaces
one of a later day, in whatever order runs finish. `.published-mrf1` lists the last runs that have published.
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
    """Publish the workbooks of the run `settings.run_id`; return the paths written.

    Idempotent: a retry resumes an interrupted publication, and does nothing after a complete one.

    Raises:
        ConfigurationError: if the run has not exported any workbook, or the folder is not writable.
    """
    if not settings.run_id:
        raise ConfigurationError("RUN_ID: not set; without a run there is nothing to publish")
    require_folder(settings.output_dir)
    published = []
    with _locked(settings.output_dir):
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
    """Return the last day of a workbook's report; None if the file or the property is missing."""
    try:
        with zipfile.ZipFile(path) as parts:
            properties = ElementTree.fromstring(parts.read("docProps/custom.xml"))  # noqa: S314  (our own file)
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
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder, so that no other run compares and replaces workbooks in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
