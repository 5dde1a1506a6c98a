"""Saves the rows of a stream as a file: CSV, Parquet, or a workbook with data sheets only."""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from psycopg import sql

from crmbot_core.contracts import Stream, stream_named
from crmbot_core.errors import ConfigurationError
from crmbot_core.telemetry import Logger
from crmbot_core.warehouse import Connection, snapshot
from crmbot_exporter.dashboards import DASHBOARDS
from crmbot_exporter.files import replaced, require_folder, scratch_folder
from crmbot_exporter.report import Report
from crmbot_exporter.rows import read_rows, rows_of, write_rows
from crmbot_exporter.settings import ExporterSettings
from crmbot_exporter.theme import Theme
from crmbot_exporter.workbook import new_workbook

_GROUP_ROWS = 50_000  # in a Parquet row group, which is held in memory


def export_data(settings: ExporterSettings, streams: Sequence[str], kind: str, log: Logger) -> list[Path]:
    """Save every row of the streams, from one snapshot, as files of one format; return their paths."""
    require_folder(settings.output_dir)
    report = Report(settings.mrf, settings.zone, None)
    paths = [settings.output_dir / f"{name}_{settings.mrf}_data.{kind}" for name in streams]
    with ExitStack() as files, snapshot(settings) as connection:
        for name, path in zip(streams, paths, strict=True):
            FORMATS[kind](connection, stream_named(name), report, files.enter_context(replaced(path)))
            log.info("data written", stream=name, mrf=settings.mrf, path=str(path))
    return paths


def write_csv(connection: Connection, stream: Stream, report: Report, file: BinaryIO) -> None:
    """Write the contract's columns as CSV in UTF-8 with a header; codes are not labelled, times are UTC."""
    copy = sql.SQL("COPY (SELECT {} {}) TO STDOUT WITH (FORMAT csv, HEADER)").format(*_query(stream, report))
    with connection.cursor().copy(copy) as blocks:
        for block in blocks:
            file.write(block)


def write_parquet(connection: Connection, stream: Stream, report: Report, file: BinaryIO) -> None:
    """Write the same columns as Parquet, with their types.

    Raises:
        ConfigurationError: if pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigurationError("parquet needs pyarrow: install crmbot-exporter[parquet]") from None
    types = {"timestamptz": pa.timestamp("ms", tz="UTC"), "numeric": pa.decimal128(14, 2)}
    types |= {"int4": pa.int32(), "int8": pa.int64()}
    with connection.cursor(name="crmbot_exporter_data") as cursor:
        cursor.itersize = _GROUP_ROWS
        cursor.execute(sql.SQL("SELECT {} {}").format(*_query(stream, report)))
        kinds = {
            column.name: connection.adapters.types[column.type_code].name
            for column in cursor.description or ()
        }
        schema = pa.schema([(name, types.get(kind, pa.string())) for name, kind in kinds.items()])
        with parquet.ParquetWriter(file, schema) as writer:
            while group := list(islice(cursor, _GROUP_ROWS)):
                columns = [
                    pa.array(values, field.type)
                    for values, field in zip(zip(*group, strict=True), schema, strict=True)
                ]
                writer.write_table(pa.table(columns, schema=schema))


def write_xlsx(connection: Connection, stream: Stream, report: Report, file: BinaryIO) -> None:
    """Write the data sheets of the stream's dashboard."""
    columns = DASHBOARDS[stream.name].data
    with scratch_folder() as scratch:
        workbook = new_workbook(file, scratch)
        rows = read_rows(connection, rows_of(stream, report), columns, report.zone.key)
        write_rows(workbook, Theme(workbook), columns, rows)
        workbook.close()


FORMATS = {"xlsx": write_xlsx, "parquet": write_parquet, "csv": write_csv}


def _query(stream: Stream, report: Report) -> tuple[sql.Composed, sql.Composed]:
    """Return a query without its SELECT: the columns, then FROM, WHERE and ORDER BY."""
    names = sql.SQL(", ").join(_column(column.name) for column in stream.row_columns)
    return names, rows_of(stream, report) + sql.SQL(" ORDER BY occurred_at, transaction_id")


def _column(name: str) -> sql.Composable:
    identifier = sql.Identifier(name)
    if name in ("event_id", "source_id"):
        return sql.SQL("{}::text AS {}").format(identifier, identifier)
    return identifier
