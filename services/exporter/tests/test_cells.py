"""Values from outside are written unchanged and read back the same."""

import io
import zipfile
from decimal import Decimal

import openpyxl
import pytest
from xlsxwriter import Workbook

from crmbot_exporter.cells import number, write_text


def _workbook_with(text: str) -> io.BytesIO:
    file = io.BytesIO()
    workbook = Workbook(file, {"constant_memory": True})
    sheet = workbook.add_worksheet()
    write_text(sheet, 0, 0, text, workbook.add_format())
    workbook.close()
    return file


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        '=HYPERLINK("http://example.com","click")',
        "+7 900 000-00-00",
        "-2+3",
        "@SUM(A1)",
        "{=1}",
        "http://example.com",
        "internal:Sheet1!A1",
        "00123",
        "<r><t>bold</t></r>",
        "<r>&</r>",
        "<r></r>",
        " пробелы по краям ",
        "a & b < c > d",
    ],
)
def test_text_is_written_as_text(text: str) -> None:
    file = _workbook_with(text)
    cell = openpyxl.load_workbook(file, rich_text=False).active["A1"]
    assert cell.value == text
    assert cell.data_type == "s"
    assert cell.hyperlink is None
    assert b"<f>" not in zipfile.ZipFile(file).read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize("text", ["\x01\x1f", "\ufffe\uffff", "\r\n\t", "_x0041_", "\U0001f600"])
def test_a_workbook_with_odd_characters_opens(text: str) -> None:
    assert openpyxl.load_workbook(_workbook_with(f"a{text}b")).active["A1"].value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("12.50"), 12.5),
        (3, 3.0),
        (0.25, 0.25),
        (None, None),
        (float("nan"), None),
        (float("-inf"), None),
        (Decimal("NaN"), None),
        ("12", None),
    ],
)
def test_only_finite_numbers_are_numbers(value: object, expected: float | None) -> None:
    assert number(value) == expected
