"""Formats numbers, dates and nouns in Russian; pure."""

from datetime import date
from decimal import Decimal

_MONTHS = (
    *("января", "февраля", "марта", "апреля", "мая", "июня"),
    *("июля", "августа", "сентября", "октября", "ноября", "декабря"),
)
_SPACE = "\N{NO-BREAK SPACE}"


def decimal(value: float, places: int = 1) -> str:
    """Return a number with a decimal comma and thousands separators."""
    return f"{value:,.{places}f}".replace(",", _SPACE).replace(".", ",")


def integer(value: float | Decimal) -> str:
    """Return a number rounded to an integer, with thousands separators."""
    return decimal(float(value), 0)


def percent(value: float) -> str:
    """Return a share as a percentage, with one decimal place below 10 % unless 0."""
    places = 0 if round(abs(value), 3) >= 0.1 or value == 0 else 1
    return f"{decimal(value * 100, places)}{_SPACE}%"


def roubles(value: float | Decimal) -> str:
    """Return an amount in roubles, thousands, millions or billions."""
    amount = float(value)
    for size, word in ((1e9, "млрд"), (1e6, "млн"), (1e3, "тыс.")):
        if abs(amount) >= size:
            scaled = amount / size
            return f"{decimal(scaled, 0 if abs(scaled) >= 100 else 1)}{_SPACE}{word}{_SPACE}₽"
    return f"{decimal(amount, 0)}{_SPACE}₽"


def counted(number: int, one: str, few: str, many: str) -> str:
    """Return a number and the matching plural form: 1 заказ, 2 заказа, 5 заказов."""
    tail, last = number % 100, number % 10
    word = many if 11 <= tail <= 14 or last == 0 or last >= 5 else one if last == 1 else few
    return f"{integer(number)}{_SPACE}{word}"


def day(value: date) -> str:
    """Return a day and month without the year: 29 октября."""
    return f"{value.day}{_SPACE}{_MONTHS[value.month - 1]}"


def days(first: date, last: date, *, with_year: bool = False) -> str:
    """Return a range of days in one month: 1–29 октября, or 1–29 октября 2026."""
    number = f"{first.day}–{last.day}" if first != last else str(last.day)
    year = f"{_SPACE}{last.year}" if with_year else ""
    return f"{number}{_SPACE}{_MONTHS[last.month - 1]}{year}"
