"""Mismatches between a file and the contract, and the SQL that fixes them: pure text."""

import re
from typing import Any, NamedTuple

from crmbot_core.contracts import Stream
from crmbot_core.contracts.models import ROUBLES_PATTERN, TIMESTAMP_PATTERN, UUID_PATTERN

NEW_UUID = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' "
    "|| substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
)
_EXPECTED = {
    UUID_PATTERN: "a UUID in lower case",
    TIMESTAMP_PATTERN: "UTC as 2026-02-28T09:30:00.250Z",
    ROUBLES_PATTERN: "roubles as 1300.50",
}
_MILLISECONDS = 10**11  # seconds since 1970 stay smaller for three thousand years
_ROUBLES_END = 10**12
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")  # readable by SQLite's date functions
_ISO = "'%Y-%m-%dT%H:%M:%fZ'"


class Mismatch(NamedTuple):
    """One line of the report: the problem, and the SQL or the instruction that fixes it."""

    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.fix}"


class Wrong(NamedTuple):
    """A kind of invalid value of a field: its storage class and what is wrong with it."""

    field: str
    storage: str
    what: str


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def field_schema(stream: Stream, field: str) -> dict[str, Any]:
    """Return the JSON Schema of a field, without null if it is nullable."""
    schema: dict[str, Any] = stream.model.model_json_schema()["properties"][field]
    return next((option for option in schema.get("anyOf", []) if option["type"] != "null"), schema)


def expected(schema: dict[str, Any]) -> str:
    """Describe the valid values of a field."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if schema["type"] == "integer":
        return f"INTEGER from {schema['minimum']} to {schema['maximum']}"
    return _EXPECTED.get(
        schema["pattern"], f"TEXT of {schema.get('minLength')} to {schema.get('maxLength')} characters"
    )


def wrong(field: str, value: object, error_type: str) -> Wrong:
    """Return the kind of an invalid value, from pydantic's error type."""
    if value is None:
        return Wrong(field, "null", "NULL")
    if isinstance(value, int | float):
        is_bound = error_type in ("greater_than_equal", "less_than_equal")
        storage = "integer" if isinstance(value, int) else "real"
        return Wrong(field, storage, "INTEGER out of range" if is_bound else storage.upper())
    whats = {
        "string_unicode": "TEXT that is not UTF-8",
        "string_too_short": "empty TEXT",
        "string_too_long": "TEXT that is too long",
    }
    return Wrong(field, "text", whats.get(error_type, "TEXT of another form"))


def expression(wrong: Wrong, schema: dict[str, Any], value: object, *, is_nullable: bool) -> str | None:
    """Return the SQL that converts a value to the contract's form; None if it cannot be derived."""
    name = wrong.field
    if wrong.what in ("TEXT that is not UTF-8", "INTEGER out of range"):
        return None
    if "enum" in schema:
        words = " ".join(f"WHEN '…' THEN '{word}'" for word in schema["enum"])
        return None if wrong.storage == "null" else f"CASE {name} {words} ELSE {name} END"
    if schema["type"] == "integer":
        return None if wrong.storage == "null" else f"CAST({name} AS INTEGER)"
    if schema["pattern"] == TIMESTAMP_PATTERN:
        return _time(wrong, value)
    if schema["pattern"] == UUID_PATTERN:
        return _uuid(wrong, value)
    if schema["pattern"] == ROUBLES_PATTERN:
        return _roubles(wrong, value)
    return _text(wrong, schema["maxLength"], is_nullable=is_nullable)


def _time(wrong: Wrong, value: object) -> str | None:
    name = wrong.field
    if isinstance(value, int | float):
        is_milliseconds = abs(value) >= _MILLISECONDS
        return f"strftime({_ISO}, {name}{' / 1000.0' if is_milliseconds else ''}, 'unixepoch')"
    is_readable = isinstance(value, str) and _ISO_DATE.match(value)
    return f"strftime({_ISO}, {name})" if is_readable else None


def _uuid(wrong: Wrong, value: object) -> str | None:
    name = wrong.field
    is_bare = wrong.storage == "blob" or (isinstance(value, str) and "-" not in value)
    if is_bare:
        digits = f"hex({name})" if wrong.storage == "blob" else name
        groups = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        parts = " || '-' || ".join(f"substr({digits}, {at}, {size})" for at, size in groups)
        return f"lower({parts})"
    return f"lower({name})" if wrong.storage == "text" else None


def _roubles(wrong: Wrong, value: object) -> str | None:
    name = wrong.field
    if isinstance(value, int | float):
        return f"printf('%.2f', {name})" if 0 <= value < _ROUBLES_END else None
    return f"printf('%.2f', replace({name}, ',', '.'))" if wrong.storage == "text" else None


def _text(wrong: Wrong, longest: int, *, is_nullable: bool) -> str | None:
    name = wrong.field
    if wrong.what == "empty TEXT" and is_nullable:
        return f"nullif({name}, '')"
    if wrong.what in ("NULL", "empty TEXT"):
        return f"coalesce(nullif({name}, ''), '-')"
    if wrong.what == "TEXT that is too long":
        return f"substr({name}, 1, {longest})"
    if wrong.storage == "text":
        return f"replace(replace({name}, char(31), ' '), char(0), ' ')"
    return f"CAST({name} AS TEXT)"
