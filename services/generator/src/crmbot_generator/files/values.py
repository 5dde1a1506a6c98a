"""Values as the contract has them, made fast: timestamps and UUIDs."""

from collections.abc import Iterable
from datetime import UTC, datetime

from crmbot_generator.calendar.days import DAY

_MINUTES = [f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(1440)]
_SECONDS = [f"{ms // 1000:02}.{ms % 1000:03}Z" for ms in range(60_000)]
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class _Dates(dict[int, str]):
    """2026-02-28 by the number of days since 1970."""

    def __missing__(self, day: int) -> str:
        date = self[day] = datetime.fromtimestamp(day * DAY / 1000, UTC).strftime("%Y-%m-%d")
        return date


_DATES = _Dates()


def timestamps(moments: Iterable[int]) -> list[str]:
    """Return moments in milliseconds since 1970 as 2026-02-28T09:30:00.250Z."""
    return [_DATES[at // DAY] + _MINUTES[at // 60_000 % 1440] + _SECONDS[at % 60_000] for at in moments]


def timestamp(at: int) -> str:
    """Return one moment as text."""
    return timestamps((at,))[0]


def milliseconds(moment: datetime) -> int:
    """Return a moment as milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def uuids(random_bytes: bytes) -> list[str]:
    """Return a UUID, version 4, of every 16 random bytes."""
    digits = random_bytes.hex()
    return [
        f"{(h := digits[i : i + 32])[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"
        for i in range(0, len(digits), 32)
    ]
