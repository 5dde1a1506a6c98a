"""Reads a stream's rows with a server-side cursor and writes data sheets, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from psycopg import sql
from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from crmbot_core.contracts import Stream
from crmbot_core.warehouse import Connection
from crmbot_exporter.cells import is_plain, write_text
from crmbot_exporter.labels import LABELS
from crmbot_exporter.layout import EXCEL_ROWS, Column, Kind, data_sheet_names
from crmbot_exporter.report import Report
from crmbot_exporter.sheets import set_page
from crmbot_exporter.theme import Theme

Row = Sequence[object]
Write = Callable[[int, int, Any], None]

_FETCHED_ROWS = 5_000
_EXACT_INTEGERS = 10**15  # Excel keeps 15 digits
# The database converts values to Excel's types, which is cheaper than converting each cell in Python:
# a moment is the number of days since 30.12.1899 in the MRF's time zone.
_EXPRESSIONS = {
    Kind.TEXT: "{column}::text",
    Kind.INTEGER: "{column}",
    Kind.IDENTIFIER: "{column}",
    Kind.ROUBLES_KOPECKS: "{column}::double precision",
    Kind.MOMENT: ("(extract(epoch FROM {column} AT TIME ZONE {zone}) / 86400.0 + 25569)::double precision"),
}


def rows_of(stream: Stream, report: Report, *, of_month: bool = False) -> sql.Composed:
    """Return FROM and WHERE that select the rows in a report's marts, or those of its month.

    A partition's batches are loaded one after another, so rows with a later `loaded_at` than the ledger row
    seen by the marts are not in the marts. Offsets would not do: they restart at 0 when a topic is recreated.
    """
    condition: sql.Composable = sql.SQL("true")
    if report.days:
        condition = sql.SQL("{} AND occurred_at < {}").format(condition, report.days.until_at)
        if of_month:
            condition = sql.SQL("{} AND occurred_at >= {}::timestamp AT TIME ZONE {}").format(
                condition, report.days.month_start, report.zone.key
            )
    for offset in report.offsets:
        if offset.topic == stream.topic(report.mrf):
            condition = sql.SQL("{} AND NOT (kafka_partition = {} AND loaded_at > {})").format(
                condition, offset.partition, offset.loaded_at
            )
    return sql.SQL(" FROM {} WHERE {}").format(sql.Identifier(stream.table(report.mrf)), condition)


def count_rows(connection: Connection, rows: sql.Composed) -> int:
    """Return the number of rows that `rows_of` selects."""
    (count,) = connection.execute(sql.SQL("SELECT count(*)") + rows).fetchone() or (0,)
    return int(count)


def read_rows(
    connection: Connection, rows: sql.Composed, columns: Sequence[Column], timezone: str
) -> Iterator[Row]:
    """Yield the declared columns of the rows, in chronological order, converted for `write_rows`."""
    selected = sql.SQL(", ").join(
        sql.SQL(_EXPRESSIONS[column.kind]).format(
            column=sql.Identifier(column.name), **_zone(column.kind, timezone)
        )
        for column in columns
    )
    query = (
        sql.SQL("SELECT {}").format(selected)
        + rows
        + sql.SQL(" ORDER BY occurred_at, source_id, transaction_id")
    )
    with connection.cursor(name="crmbot_exporter_rows") as cursor:
        cursor.itersize = _FETCHED_ROWS
        yield from cursor.execute(query, binary=True)


def write_rows(
    workbook: Workbook,
    formats: Theme,
    columns: Sequence[Column],
    rows: Iterable[Row],
    row_limit: int = EXCEL_ROWS,
) -> int:
    """Write rows on as many sheets as needed; return the number of rows."""
    remaining = iter(rows)
    names = data_sheet_names()
    written = 0
    first: list[Row] = []
    while True:
        part = chain(first, islice(remaining, row_limit - 1 - len(first)))
        written += _write_sheet(workbook.add_worksheet(next(names)), formats, columns, part)
        first = list(islice(remaining, 1))
        if not first:
            return written


def _write_sheet(worksheet: Worksheet, formats: Theme, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    for index, column in enumerate(columns):
        worksheet.set_column_pixels(index, index, column.width, formats.data(column.kind))
    worksheet.set_row_pixels(0, 40)
    for index, column in enumerate(columns):
        worksheet.write_string(0, index, column.title, formats.header(column.kind))
    writers = [_writer(worksheet, formats, column) for column in columns]
    row = 0
    for row, values in enumerate(rows, 1):
        for index, value in enumerate(values):
            if value is not None:
                writers[index](row, index, value)
    worksheet.freeze_panes(1, 0)
    worksheet.autofilter(0, 0, row, len(columns) - 1)
    worksheet.repeat_rows(0)
    set_page(worksheet)
    return row


def _writer(worksheet: Worksheet, formats: Theme, column: Column) -> Write:
    """Return the function that writes a value of this column; it runs for every cell, so keep it short."""
    if column.kind is Kind.TEXT:
        return _text_writer(worksheet, formats, LABELS.get(column.name, {}))
    return _number_writer(worksheet)


def _text_writer(worksheet: Worksheet, formats: Theme, codes: Mapping[str, str]) -> Write:
    write_string = worksheet.write_string

    def write(row: int, index: int, value: Any) -> None:  # noqa: ANN401  (the query says that it is text)
        text: str = codes.get(value, value)
        if is_plain(text):
            write_string(row, index, text)
        else:
            write_text(worksheet, row, index, text, formats.plain)

    return write


def _number_writer(worksheet: Worksheet) -> Write:
    write_number = worksheet.write_number

    def write(row: int, index: int, value: Any) -> None:  # noqa: ANN401  (the query says that it is a number)
        if -_EXACT_INTEGERS < value < _EXACT_INTEGERS:
            write_number(row, index, value)
        elif isinstance(value, int):
            worksheet.write_string(row, index, str(value))

    return write


def _zone(kind: Kind, timezone: str) -> dict[str, sql.Composable]:
    return {"zone": sql.Literal(timezone)} if kind is Kind.MOMENT else {}
