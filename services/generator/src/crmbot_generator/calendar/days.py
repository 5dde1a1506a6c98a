"""Days by number (1 is 0001-01-01, as `date.toordinal` counts), and the Russian production calendar."""

from datetime import UTC, date, datetime, time
from functools import cache
from zoneinfo import ZoneInfo

import holidays

DAY = 86_400_000  # milliseconds
_EPOCH = date(1970, 1, 1).toordinal()


@cache
def is_working(day: int) -> bool:
    """Return whether a day is a working one; moved days off are known from 1991 to 2027."""
    return bool(_russia().is_working_day(date.fromordinal(day)))


@cache
def midnight(day: int, zone: ZoneInfo) -> int:
    """Return when a local day begins, in milliseconds since 1970 UTC."""
    local = datetime.combine(date.fromordinal(day), time(), zone)
    return round(local.astimezone(UTC).timestamp() * 1000)


def local_day(at: int, zone: ZoneInfo) -> int:
    """Return the local day of a moment."""
    return datetime.fromtimestamp(at / 1000, zone).toordinal()


def utc_day(at: int) -> int:
    """Return the day of a moment in UTC."""
    return at // DAY + _EPOCH


def days_of_year(year: int) -> range:
    """Return the days of a year."""
    return range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal())


@cache
def working_days_left(day: int) -> int:
    """Return how many working days the month has from this day on."""
    month = date.fromordinal(day).month
    left = 0
    while date.fromordinal(day).month == month:
        left += is_working(day)
        day += 1
    return left


@cache
def _russia() -> holidays.HolidayBase:
    return holidays.country_holidays("RU")
