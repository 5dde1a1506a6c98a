"""Settings of the exporter, read from environment variables."""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from crmbot_core.settings import Folder, LogSettings, MrfName, ServiceSettings, WarehouseSettings


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, absolute path, folder such as "Europe"
        raise ValueError(f"no time zone {name!r}: use a name such as Europe/Moscow") from None
    return name


def _iso_day(day: object) -> object:
    # pydantic would also accept seconds since 1970.
    if isinstance(day, str) and not re.fullmatch("20[0-9]{2}-[0-9]{2}-[0-9]{2}", day):
        raise ValueError("not a day such as 2026-03-31")
    return day


Day = Annotated[date, BeforeValidator(_iso_day)]


class OutputSettings(BaseSettings):
    """Folder of the workbooks."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    output_dir: Folder = Field(default=Path("/opt/airflow/dags"), description="folder of the workbooks")


class WorkbookSettings(OutputSettings):
    """Workbooks of one MRF."""

    mrf: MrfName = Field(description="macro-regional branch to export, such as mrf1")

    def workbook(self, name: str) -> Path:
        """Return the path of a stream's workbook."""
        return self.output_dir / f"{name}_{self.mrf}.xlsx"


class WatchSettings(ServiceSettings, WorkbookSettings):
    """Settings of `crmbot-exporter watch`."""


class ZoneSettings(BaseSettings):
    """Time zone of the days."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        default="Europe/Moscow", description="time zone of the MRF, in which days begin and times are shown"
    )

    @property
    def zone(self) -> ZoneInfo:
        """The time zone; its name was checked when the settings were read."""
        return ZoneInfo(self.timezone)


class ExporterSettings(LogSettings, WarehouseSettings, WorkbookSettings, ZoneSettings):
    """Settings of `crmbot-exporter export`, `marts`, `publish` and `data`."""

    report_day: Day | None = Field(
        default=None, description="last day of the report, such as 2026-03-31; the newest row's unless given"
    )
    # Part of a folder's name, which is limited to 255 bytes.
    run_id: Annotated[str, StringConstraints(max_length=240)] = Field(
        default="", description="run of the DAG: its workbooks are kept apart until they are published"
    )
    data_rows: Literal["all", "month"] = Field(
        default="all", description="rows of the data sheets: all up to the last day, or those of its month"
    )

    def staged(self, name: str) -> Path:
        """Return where a workbook is saved: in the run's folder, or without a run at its final path."""
        return self.run_folder / self.workbook(name).name if self.run_id else self.workbook(name)

    @property
    def run_folder(self) -> Path:
        """The folder of a run's workbooks until they are published."""
        return self.output_dir / f".{self.mrf}-{re.sub(r'[^0-9A-Za-z]+', '-', self.run_id)}"

    @property
    def published_runs(self) -> Path:
        """The file that lists the runs that have published, by folder name."""
        return self.output_dir / f".published-{self.mrf}"


class PlanSettings(LogSettings, WarehouseSettings):
    """Settings of `crmbot-exporter plan`."""

    mrf: MrfName = Field(description="macro-regional branch, such as mrf1")


class RussiaSettings(LogSettings, WarehouseSettings, OutputSettings, ZoneSettings):
    """Settings of `crmbot-exporter export-russia`."""
