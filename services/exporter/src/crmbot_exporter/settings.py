"""Settings of the exporter, read from environment variables."""

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from crmbot_core.settings import LogSettings, MrfName, ServiceSettings, WarehouseSettings


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, absolute path, folder such as "Europe"
        raise ValueError(f"no time zone {name!r}: use a name such as Europe/Moscow") from None
    return name


class WorkbookSettings(BaseSettings):
    """Which workbooks a command is about."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    mrf: MrfName = Field(description="macro-regional branch to export, such as mrf1")
    output_dir: Path = Field(
        default=Path("/opt/airflow/dags"), description="folder that the workbooks are saved in"
    )

    def workbook(self, stream: str) -> Path:
        """Return where the workbook of a stream is saved."""
        return self.output_dir / f"{stream}_{self.mrf}.xlsx"


class WatchSettings(ServiceSettings, WorkbookSettings):
    """What `crmbot-exporter watch` reads."""


class ExporterSettings(LogSettings, WarehouseSettings, WorkbookSettings):
    """What `crmbot-exporter export` and `marts` read."""

    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        default="Europe/Moscow", description="time zone of the MRF, in which days begin and times are shown"
    )

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)
