"""Validates whole batches of messages against the contract and converts them to COPY fields.

pydantic defines what is valid, but at about 9 µs a message it would take most of the consumer's time. The
producer writes JSON in a canonical form: keys in the contract's order, no spaces, no escapes. One regular
expression, built from the model's JSON Schema, matches this form; its groups are the fields. pydantic
validates all other messages; a property test shows that the two never disagree.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from crmbot_core.contracts.streams import Stream

# The fields of a row in the stream's column order, as COPY … WITH (FORMAT text, NULL '') reads them. The
# empty field can stand for NULL because the contract has no empty text.
Row = tuple[bytes, ...]


class CheckedBatch(NamedTuple):
    """A validated batch: `rows[i]` comes from message `positions[i]`.

    `rejected` holds (position, reason) of the messages that violate the contract.
    """

    rows: list[Row]
    positions: Sequence[int]
    rejected: list[tuple[int, str]]


class BatchCheck:
    """Validates batches of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._model = stream.model
        properties = stream.model.model_json_schema()["properties"]
        fields = ",".join(f'"{name}":{_value_pattern(schema)}' for name, schema in properties.items())
        self._match = re.compile(f"{{{fields}}}".encode()).fullmatch

    def __call__(self, values: Sequence[bytes | None]) -> CheckedBatch:
        """Validate the values of a batch of messages; a tombstone (None) violates the contract."""
        match = self._match
        try:
            rows = [match(value).groups(b"") for value in values]  # type: ignore[union-attr,arg-type]
        except (AttributeError, TypeError):
            # Not canonical, or a tombstone.
            return self._one_by_one(values)
        return CheckedBatch(rows, range(len(rows)), []) if _is_utf8(rows) else self._one_by_one(values)

    def _one_by_one(self, values: Sequence[bytes | None]) -> CheckedBatch:
        rows, positions, rejected = [], [], []
        for position, value in enumerate(values):
            row = self._row_or_reason(value)
            if isinstance(row, str):
                rejected.append((position, row))
            else:
                rows.append(row)
                positions.append(position)
        return CheckedBatch(rows, positions, rejected)

    def _row_or_reason(self, value: bytes | None) -> Row | str:
        """Return the message's row, or the reason to reject it."""
        if value is None:
            return "empty message"
        if (match := self._match(value)) and _is_utf8([row := match.groups(b"")]):
            return row
        try:
            fields = self._model.model_validate_json(value).model_dump().values()
        except ValidationError as error:
            return self._reason(error)
        return tuple(b"" if field is None else copy_field(str(field).encode()) for field in fields)

    def _reason(self, error: ValidationError) -> str:
        """Describe the violations without quoting the message, which may contain personal data.

        The names of unknown fields are part of the message, too.
        """
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{self._field_name(problem['loc'])}: {problem['msg']}" for problem in problems[:3])

    def _field_name(self, location: tuple[int | str, ...]) -> str:
        if not location:
            return "message"
        return str(location[0]) if location[0] in self._model.model_fields else "unknown field"


_ESCAPES = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r"}
_UNESCAPED = {escape: text for text, escape in _ESCAPES.items()}
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


def copy_field(text: bytes) -> bytes:
    """Encode a text as a field in COPY's text format."""
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def text_of_field(field: bytes) -> bytes:
    """Decode a field that `copy_field` encoded."""
    return _ESCAPE.sub(lambda escape: _UNESCAPED[escape[0]], field)


def _is_utf8(rows: Sequence[Row]) -> bool:
    """Return whether the fields are UTF-8; the text between them in the canonical form is ASCII."""
    try:
        # Joined with a space, so that adjacent fields cannot combine into valid UTF-8.
        b" ".join(map(b" ".join, rows)).decode()
    except UnicodeDecodeError:
        return False
    return True


def _value_pattern(schema: dict[str, Any]) -> str:
    """Return the expression, with one group, of a field's value as SQLite's json_object writes it.

    It may miss rare valid values (long texts, numbers near the limit) but never match an invalid one.
    Repetitions are possessive (`+`): no shorter value could match, so backtracking is pointless.
    """
    if "anyOf" in schema:
        (option,) = (option for option in schema["anyOf"] if option["type"] != "null")
        return f"(?:null|{_value_pattern(option)})"
    if "const" in schema:
        return f"({schema['const']})"
    if "enum" in schema:
        return f'"({"|".join(map(re.escape, schema["enum"]))})"'
    if schema["type"] == "integer":
        zero = "0|" if schema["minimum"] == 0 else ""
        return f"({zero}[1-9][0-9]{{0,{len(str(schema['maximum'])) - 2}}}+)"
    if "maxLength" in schema:
        # Counts bytes, but the contract counts characters: the longest texts are left to pydantic.
        return rf'"([^"\\\x00-\x1f]{{{schema["minLength"]},{schema["maxLength"]}}}+)"'
    core = schema["pattern"].removeprefix("^").removesuffix("$")
    without_groups = re.sub(r"\((?!\?)", "(?:", core)
    return f'"({without_groups})"'
