"""Working time: when somebody is at work, and what is a given time of work later."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from zoneinfo import ZoneInfo

from crmbot_generator.calendar.days import is_working, midnight

_MINUTE = 60_000  # milliseconds, as all that follows
_NET, _LUNCH = 480 * _MINUTE, 60 * _MINUTE
_LENGTH = _NET + _LUNCH


class Hours:
    """Somebody's working hours: eight on each working day, with an hour for lunch between them.

    Args:
        zone: where.
        opens_at: minutes after midnight.
        lunch_after: minutes of work.
        days_of: returns the working days of a year, in order.
        year: the first year that will be asked for.
    """

    def __init__(
        self,
        zone: ZoneInfo,
        opens_at: int,
        lunch_after: int,
        days_of: Callable[[int], Iterable[int]],
        year: int,
    ) -> None:
        self._zone = zone
        self._opens_at = opens_at * _MINUTE
        self._lunch_after = lunch_after * _MINUTE
        self._days_of = days_of
        self._next_year = year
        self._starts: list[int] = []
        self._extend()

    def works_on(self, day: int) -> bool:
        """Return whether a local day is a working one."""
        while date.fromordinal(day).year >= self._next_year:
            self._extend()
        start = _start(day, self._zone, self._opens_at)
        place = bisect_left(self._starts, start)
        return place < len(self._starts) and self._starts[place] == start

    def later(self, at: int, minutes: float) -> int:
        """Return the moment at which so many minutes were worked since `at`, both in milliseconds since 1970.

        What begins outside of the hours waits for the next ones.
        """
        starts = self._starts
        while at >= starts[-1]:
            self._extend()
        index = bisect_right(starts, at) - 1
        worked = minutes * _MINUTE
        if index < 0:
            index = 0
        elif (begun := at - starts[index]) < _LENGTH:
            if begun > self._lunch_after:
                begun = max(self._lunch_after, begun - _LUNCH)
            worked += begun
        else:  # after hours
            index += 1
        while worked > _NET:
            worked -= _NET
            index += 1
        while index >= len(starts):
            self._extend()
        return starts[index] + int(worked if worked <= self._lunch_after else worked + _LUNCH)

    def _extend(self) -> None:
        self._starts += [_start(day, self._zone, self._opens_at) for day in self._days_of(self._next_year)]
        self._next_year += 1


@cache
def _start(day: int, zone: ZoneInfo, opens_at: int) -> int:
    """Return when work begins; managers share the cached numbers."""
    return midnight(day, zone) + opens_at


def working_days(year_days: Iterable[int]) -> list[int]:
    """Return the working days of the production calendar among days."""
    return [day for day in year_days if is_working(day)]
