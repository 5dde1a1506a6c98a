"""Checks that the stream's table or view has the contract's columns."""

from crmbot_core.contracts import Column, Stream
from crmbot_core.contracts.models import ROUBLES_PATTERN
from crmbot_producer.adopt.mismatch import Mismatch, field_schema
from crmbot_producer.adopt.structure import Mapped


def missing_columns(stream: Stream, mapped: Mapped) -> list[str]:
    """Return the contract's columns that the table or view lacks, in the contract's order."""
    return [column.name for column in stream.sqlite_columns if column.name not in mapped.columns]


def absent(stream: Stream) -> Mismatch:
    """Return the mismatch of a file without the stream's table or view."""
    columns = ", ".join(f"… AS {column.name}" for column in stream.sqlite_columns)
    return Mismatch(
        f"{stream.name}: there is no table or view of this name",
        f"map your own: CREATE VIEW {stream.name} AS SELECT {columns} FROM …;",
    )


def column_mismatches(stream: Stream, mapped: Mapped) -> list[Mismatch]:
    """Return a mismatch for each missing column. The producer ignores additional columns."""
    found = []
    for name in missing_columns(stream, mapped):
        column = next(column for column in stream.sqlite_columns if column.name == name)
        value = "NULL" if column.nullable else "…"
        mend = (
            f"in the view: {value} AS {name}"
            if mapped.is_view
            else f"ALTER TABLE {mapped.name} ADD COLUMN {name} {column.kind.upper()};"
            + ("" if column.nullable else f" UPDATE {mapped.name} SET {name} = …;")
        )
        found.append(
            Mismatch(f"{name}: the {'view' if mapped.is_view else 'table'} has no such column", mend)
        )
    return found


def declared_mismatches(stream: Stream, mapped: Mapped) -> list[Mismatch]:
    """Return a mismatch for each column whose declared type changes valid values.

    SQLite stores the text 1300.50 as the number 1300.5 in a column declared DECIMAL or NUMERIC. Text that is
    not a number stays unchanged.
    """
    found = []
    for column in stream.sqlite_columns:
        declared = mapped.columns[column.name]
        affinity = _affinity(declared)
        is_roubles = field_schema(stream, column.name).get("pattern") == ROUBLES_PATTERN
        if column.kind == "integer" and affinity in ("text", "real"):
            value = f"CAST({column.name} AS INTEGER)"
        elif is_roubles and affinity in ("integer", "real", "numeric"):
            value = f"printf('%.2f', {column.name})"
        elif _is_free_text(stream, column) and affinity in ("integer", "real", "numeric"):
            value = f"CAST({column.name} AS TEXT)"
        else:
            continue
        mend = (
            f"in the view: {value} AS {column.name}"
            if mapped.is_view
            else f"SQLite cannot change a type: let {mapped.name} be a view of your table with {value}"
        )
        found.append(
            Mismatch(f"{column.name}: declared {declared}, which is not {column.kind.upper()}", mend)
        )
    return found


def _is_free_text(stream: Stream, column: Column) -> bool:
    schema = field_schema(stream, column.name)
    return column.kind == "text" and "enum" not in schema and "maxLength" in schema


def _affinity(declared: str) -> str:
    """Return a declared type's affinity: https://sqlite.org/datatype3.html, 3.1."""
    kind = declared.upper()
    if "INT" in kind:
        return "integer"
    if any(word in kind for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if not kind or "BLOB" in kind or kind == "ANY":
        return "none"
    return "real" if any(word in kind for word in ("REAL", "FLOA", "DOUB")) else "numeric"
