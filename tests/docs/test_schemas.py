"""The JSON Schemas are valid, and accept and refuse the same messages as the models."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from crmbot_core.contracts import STREAMS, Stream, stream_named

CONTRACTS = Path(__file__).parents[2] / "docs" / "contracts"
EXAMPLES: dict[str, dict[str, Any]] = {
    name: json.loads((CONTRACTS / f"{name}.example.json").read_text(encoding="utf-8")) for name in STREAMS
}
MISSING = object()

# Invalid fields of both streams: (field, value that replaces the example's).
BROKEN = {
    "a field is missing": ("lead_id", MISSING),
    "an unknown field": ("comment", "x"),
    "another version": ("schema_version", 2),
    "null where there must be a value": ("city", None),
    "empty text": ("manager_name", ""),
    "text that is too long": ("branch", "я" * 201),
    "a value that is not on the list": ("segment", "другое"),
    "a number as text": ("transaction_id", "7"),
    "a fraction": ("transaction_id", 7.5),
    "a boolean as a number": ("transaction_id", True),
    "zero": ("transaction_id", 0),
    "more than 64 bits": ("transaction_id", 2**63),
    "UUID in capitals": ("event_id", "0B6C6A3E-9A55-4F0E-8F2E-0D8A3C1F7B10"),
    "time in another zone": ("occurred_at", "2026-02-28T09:30:00.250+03:00"),
    "time without milliseconds": ("recorded_at", "2026-02-28T09:30:00Z"),
    "no MRF": ("mrf", "mrf0"),
}
BROKEN_IN_ONE = [
    ("actions", "potential_revenue", "650.5"),
    ("actions", "potential_revenue", 650.0),
    ("actions", "refusal_reason", MISSING),
    ("actions", "refusal_reason", ""),
    ("actions", "result", "connected"),
    ("nature", "monthly_revenue", "-1.00"),
    ("nature", "one_off_revenue", "01.00"),
    ("nature", "units", 0),
    ("nature", "units", 2**31),
    ("nature", "status", None),
]


def schema_of(stream: Stream) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(
        (CONTRACTS / f"{stream.name}.schema.json").read_text(encoding="utf-8")
    )
    return schema


def changed(stream: Stream, field: str, value: object) -> dict[str, Any]:
    message = EXAMPLES[stream.name] | {field: value}
    return {name: kept for name, kept in message.items() if kept is not MISSING}


def refused_by_schema(stream: Stream, message: dict[str, Any]) -> set[str]:
    """Return the fields for which the schema refuses a message."""
    schema = schema_of(stream)
    of_the_message = {
        "required": set(schema["required"]) - message.keys(),
        "additionalProperties": message.keys() - schema["properties"].keys(),
    }
    found: set[str] = set()
    for error in Draft202012Validator(schema).iter_errors(message):
        found |= {str(error.path[0])} if error.path else of_the_message[str(error.validator)]
    return found


def refused_by_model(stream: Stream, message: dict[str, Any]) -> set[str]:
    """Return the fields for which the model refuses a message."""
    try:
        stream.model.model_validate_json(json.dumps(message))
    except ValidationError as error:
        return {str(problem["loc"][0]) for problem in error.errors()}
    return set()


@pytest.mark.parametrize("stream", STREAMS.values(), ids=lambda stream: stream.name)
def test_schema_is_valid_and_declares_its_draft(stream: Stream) -> None:
    schema = schema_of(stream)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=lambda stream: stream.name)
@pytest.mark.parametrize("reason", [None, "дорого"])
def test_good_messages_pass(stream: Stream, reason: str | None) -> None:
    field = {"actions": "refusal_reason", "nature": "lost_reason"}[stream.name]
    message = changed(stream, field, reason)
    assert refused_by_schema(stream, message) == set()
    assert refused_by_model(stream, message) == set()


@pytest.mark.parametrize("stream", STREAMS.values(), ids=lambda stream: stream.name)
@pytest.mark.parametrize(("field", "value"), BROKEN.values(), ids=BROKEN)
def test_broken_messages_are_refused_for_the_same_field(stream: Stream, field: str, value: object) -> None:
    message = changed(stream, field, value)
    assert refused_by_schema(stream, message) == {field}
    assert refused_by_model(stream, message) == {field}


@pytest.mark.parametrize(("name", "field", "value"), BROKEN_IN_ONE, ids=lambda value: str(value)[:20])
def test_invalid_fields_of_one_stream_are_refused(name: str, field: str, value: object) -> None:
    stream = stream_named(name)
    message = changed(stream, field, value)
    assert refused_by_schema(stream, message) == {field}
    assert refused_by_model(stream, message) == {field}
