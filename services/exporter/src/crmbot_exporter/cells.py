"""Writes single values safely: text from outside is always written as text."""

import math
from datetime import date
from decimal import Decimal

from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from crmbot_exporter.labels import label
from crmbot_exporter.layout import Column, Kind


def is_plain(text: str) -> bool:
    """Return whether XlsxWriter's write_string writes this text unchanged."""
    return text.isprintable() and not text.startswith("<r>")


def write_text(
    worksheet: Worksheet, row: int, column: int, text: str, plain: Format, cell: Format | None = None
) -> None:
    """Write text from outside unchanged, never as a formula, a link or XML.

    XlsxWriter treats <r>…</r> as the XML of a rich string and copies it into the sheet unescaped, so such
    text is written as a rich string of two parts. U+FFFE and U+FFFF, invalid in XML, become U+FFFD.
    """
    if not text.isprintable():
        text = text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    if text.startswith("<r>"):
        worksheet.write_rich_string(row, column, text[:1], plain, text[1:], *([cell] if cell else []))
    else:
        worksheet.write_string(row, column, text, cell)


def number(value: object) -> float | None:
    """Return a value as a float, or None if it is missing, not numeric or not finite."""
    if isinstance(value, (int, float, Decimal)) and math.isfinite(value):
        return float(value)
    return None


def write_value(
    worksheet: Worksheet, row: int, column: int, declared: Column, value: object, plain: Format, cell: Format
) -> None:
    """Write one value of a mart as its column declares; a missing value gives a blank cell."""
    if declared.kind is Kind.TEXT:
        if value is None:
            worksheet.write_blank(row, column, None, cell)
        else:
            write_text(worksheet, row, column, label(declared.name, value), plain, cell)
    elif declared.kind is Kind.DATE and isinstance(value, date):
        worksheet.write_datetime(row, column, value, cell)
    elif (figure := number(value)) is not None:
        worksheet.write_number(row, column, figure, cell)
    else:
        worksheet.write_blank(row, column, None, cell)
