"""The report that a workbook shows: its MRF, its days, and the offsets loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from crmbot_exporter import russian
from crmbot_exporter.labels import mrf_title


@dataclass(frozen=True)
class Offset:
    """How far one partition of a topic is loaded: `end` is the first offset not loaded."""

    topic: str
    partition: int
    end: int
    loaded_at: datetime


@dataclass(frozen=True)
class Days:
    """The days of a report, from the mart `report`: a month up to `day`, compared with the month before."""

    day: date
    month_start: date
    month_end: date
    previous_start: date
    previous_end: date
    trend_start: date
    days: int
    month_days: int
    until_at: datetime

    @property
    def period(self) -> str:
        """The days of the report in Russian, with the year: 1–29 октября 2026."""
        return russian.days(self.month_start, self.day, with_year=True)

    @property
    def previous_period(self) -> str:
        """The days it is compared with in Russian, without the year: 1–29 сентября."""
        return russian.days(self.previous_start, self.previous_end)


@dataclass(frozen=True)
class Report:
    """The report of one workbook; `days` is None if the warehouse has no rows of the MRF."""

    mrf: str
    zone: ZoneInfo
    days: Days | None
    offsets: tuple[Offset, ...] = ()

    @property
    def title(self) -> str:
        """The MRF as the workbook names it."""
        return mrf_title(self.mrf)

    @property
    def subtitle(self) -> str:
        """The line below a sheet's title."""
        parts = [self.title]
        if self.days:
            parts.append(f"{self.days.period} в сравнении с {self.days.previous_period}")
        if self.loaded_at:
            parts.append(f"данные на {self.loaded_at:%d.%m.%Y %H:%M} ({self.zone.key})")
        return "  ·  ".join(parts)

    @property
    def loaded_at(self) -> datetime | None:
        """When the newest rows were loaded, in the MRF's time zone."""
        newest = max((offset.loaded_at for offset in self.offsets), default=None)
        return newest.astimezone(self.zone) if newest else None


def stamp(offsets: Sequence[Offset]) -> list[str]:
    """Return a line per topic with its end offset in each partition."""
    ends: dict[str, list[str]] = {}
    for offset in sorted(offsets, key=lambda offset: (offset.topic, offset.partition)):
        ends.setdefault(offset.topic, []).append(f"раздел {offset.partition} – до {offset.end}")
    return [f"Топик {topic}, загруженные смещения: {', '.join(parts)}" for topic, parts in ends.items()]
