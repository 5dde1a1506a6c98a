"""The fast batch check accepts and rejects exactly the messages that pydantic does."""

import json
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crmbot_core.contracts import ACTIONS, NATURE, STREAMS, Stream
from crmbot_core.contracts.batch import BatchCheck, Row, copy_field, text_of_field

ACTION: dict[str, Any] = {
    "kafka_partition": 0,
    "previous_id": 6,
    "schema_version": 1,
    "transaction_id": 7,
    "event_id": "0b6c6a3e-9a55-4f0e-8f2e-0d8a3c1f7b10",
    "source_id": "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11",
    "mrf": "mrf1",
    "occurred_at": "2026-02-28T09:30:00.250Z",
    "recorded_at": "2026-02-28T09:30:01.000Z",
    "lead_id": "mrf1-L1",
    "client_id": "C1",
    "segment": "individual",
    "manager_id": "M1",
    "manager_name": "Анна Петрова",
    "branch": "Московский филиал",
    "city": "Москва",
    "client_name": "Иван\tИванов \\ «и сын»",
    "action": "call",
    "channel": "phone",
    "product": "Интернет",
    "result": "refused",
    "refusal_reason": "дорого",
    "potential_revenue": "650.00",
}
# Nothing that JSON has to escape: the producer's canonical form.
PLAIN = ACTION | {"client_name": "ООО «Иванов и сын»"}
NATURE_STEP = {name: ACTION[name] for name in NATURE.column_names if name in ACTION} | {
    "order_id": "O1",
    "service": "Интернет",
    "tariff": "Тариф 100",
    "units": 2,
    "status": "connected",
    "lost_reason": None,
    "one_off_revenue": "0.00",
    "monthly_revenue": "1300.50",
}
EXAMPLES = {"actions": ACTION, "nature": NATURE_STEP}
CHECKS = {name: BatchCheck(stream) for name, stream in STREAMS.items()}

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**63 - 2, max_value=2**64),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        [
            1.0,
            "7",
            "",
            "\0",
            "a\0b",
            "a\x1fb",
            "\ud800",
            "x" * 200,
            "x" * 201,
            "2026-02-30T00:00:00.000Z",
            "2026-02-28T09:30:00.250Z\n",
            "2026-02-28T09:30:00.250+03:00",
            "1.5",
            "1.50",
            "-1.50",
            "01.50",
            "٣.00",
            "1.00\n",
            "mrf1\n",
            "mrf1000",
            "0B6C6A3E-9A55-4F0E-8F2E-0D8A3C1F7B10",
            "lost",
            [],
            {},
        ]
    ),
)


def row_by_pydantic(stream: Stream, value: bytes) -> Row | None:
    try:
        fields = stream.model.model_validate_json(value).model_dump().values()
    except ValidationError:
        return None
    return tuple(b"" if field is None else copy_field(str(field).encode()) for field in fields)


def agree(stream: Stream, values: list[bytes]) -> None:
    expected = [row_by_pydantic(stream, value) for value in values]
    checked = CHECKS[stream.name](values)
    found: list[Row | None] = [None] * len(values)
    for position, row in zip(checked.positions, checked.rows, strict=True):
        found[position] = row
    assert found == expected
    assert [position for position, _ in checked.rejected] == [
        p for p, row in enumerate(expected) if row is None
    ]


@st.composite
def messages(draw: st.DrawFn, example: dict[str, Any]) -> bytes:
    message = dict(example)
    for name in draw(st.lists(st.sampled_from([*example, "unknown"]), max_size=2)):
        if draw(st.booleans()):
            message[name] = draw(ODD_VALUES)
        else:
            message.pop(name, None)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    text = json.dumps(message, ensure_ascii=draw(st.booleans()), separators=separators)
    value = text.encode("utf-8", "surrogatepass")
    cut = draw(st.none() | st.integers(min_value=0, max_value=len(value)))
    return value if cut is None else value[:cut] + draw(st.binary(max_size=2)) + value[cut:]


@pytest.mark.parametrize("stream", [ACTIONS, NATURE], ids=lambda stream: stream.name)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_fast_check_agrees_with_pydantic(stream: Stream, data: st.DataObject) -> None:
    agree(stream, data.draw(st.lists(messages(EXAMPLES[stream.name]), max_size=4)))


@given(value=st.binary(max_size=40))
@example(value=b"")
@example(value=b"null")
@example(value=b"[]")
@example(value=b'{"a":1} {"a":1}')
def test_fast_check_agrees_with_pydantic_on_any_bytes(value: bytes) -> None:
    agree(ACTIONS, [value, json.dumps(ACTION).encode()])


def with_raw(name: str, raw: str) -> bytes:
    """Return a message in the canonical form with a raw value in it."""
    text = json.dumps(PLAIN, ensure_ascii=False, separators=(",", ":"))
    value = json.dumps(PLAIN[name], ensure_ascii=False)
    return text.replace(f'"{name}":{value}', f'"{name}":{raw}', 1).encode()


@pytest.mark.parametrize(
    "value",
    [
        with_raw("schema_version", "1.0"),
        with_raw("schema_version", "true"),
        with_raw("transaction_id", "7.0"),
        with_raw("transaction_id", "7e0"),
        with_raw("transaction_id", "-0"),
        with_raw("transaction_id", "07"),
        with_raw("transaction_id", '"7"'),
        with_raw("transaction_id", "9223372036854775808"),
        with_raw("transaction_id", "123456789012345678901234567890"),
        with_raw("transaction_id", "NaN"),
        with_raw("kafka_partition", "2147483647"),
        with_raw("kafka_partition", "2147483648"),
        with_raw("previous_id", "0"),
        with_raw("previous_id", "00"),
        with_raw("previous_id", "-0"),
        with_raw("previous_id", "9223372036854775807"),
        with_raw("city", r'"\ud83d\ude00"'),
        with_raw("city", r'"\ud83d"'),
        with_raw("city", r'"\u0000"'),
        with_raw("city", '"\t"'),
        with_raw("city", '"Moscow", "city": "Tver"'),
        with_raw("occurred_at", '"2025-02-29T00:00:00.000Z"'),
        with_raw("occurred_at", '"2028-02-29T00:00:00.000Z"'),
        with_raw("occurred_at", '"2100-02-28T00:00:00.000Z"'),
        with_raw("occurred_at", '"2026-04-31T00:00:00.000Z"'),
        with_raw("transaction_id", "9223372036854775807"),
        with_raw("transaction_id", "999999999999999999"),
        with_raw("refusal_reason", "null"),
        with_raw("refusal_reason", '""'),
        with_raw("city", '"' + "я" * 200 + '"'),
        with_raw("city", '"' + "я" * 201 + '"'),
        with_raw("city", '"\x7f"'),
        with_raw("city", '"M"').replace(b'"M"', b'"\xd0"'),
        with_raw("city", '"M"').replace(b'"M"', b'"\xed\xa0\x80"'),
        # A character split between two fields.
        with_raw("lead_id", '"M"').replace(b'"M","client_id":"', b'"\xd0","client_id":"\x9f'),
        with_raw("city", '"M"') + b"\n",
        b"\xef\xbb\xbf" + json.dumps(ACTION).encode(),
        b" \n" + json.dumps(ACTION).encode() + b"\n ",
        json.dumps(ACTION).encode() + b"x",
        json.dumps([ACTION]).encode(),
        json.dumps(ACTION, ensure_ascii=False).encode("cp1251"),
    ],
)
def test_fast_check_agrees_with_pydantic_on_edge_cases(value: bytes) -> None:
    agree(ACTIONS, [value])


def test_a_batch_keeps_the_good_rows_in_order_around_the_bad_ones() -> None:
    good = [json.dumps(ACTION | {"transaction_id": number}).encode() for number in (1, 2, 3)]
    bad = json.dumps(ACTION | {"occurred_at": "2026-02-30T00:00:00.000Z"}).encode()
    checked = CHECKS["actions"]([good[0], None, good[1], bad, b"{", good[2]])
    assert [row[ACTIONS.column_names.index("transaction_id")] for row in checked.rows] == [b"1", b"2", b"3"]
    assert list(checked.positions) == [0, 2, 5]
    assert [position for position, _ in checked.rejected] == [1, 3, 4]


def test_the_reason_names_the_field_and_not_the_personal_data() -> None:
    checked = CHECKS["actions"]([json.dumps(ACTION | {"client_name": ["Иван Иванов"]}).encode()])
    ((_, reason),) = checked.rejected
    assert "client_name" in reason
    assert "Иван" not in reason


def test_the_reason_does_not_name_unknown_fields() -> None:
    """They may contain NUL, which PostgreSQL cannot store, or personal data."""
    message = ACTION | {"\0": 1, "Иван Иванов": 2, "[/x]": 3}
    ((_, reason),) = CHECKS["actions"]([json.dumps(message).encode()]).rejected
    assert reason == "; ".join(["unknown field: Extra inputs are not permitted"] * 3)


@given(st.binary())
def test_copy_fields_round_trip(text: bytes) -> None:
    assert text_of_field(copy_field(text)) == text


def test_every_day_of_the_century_is_accepted_and_the_day_after_a_month_is_not() -> None:
    days = [date(2000, 1, 1) + timedelta(days=number) for number in range(36525)]
    month_ends = [day for day in days if (day + timedelta(days=1)).day == 1]
    good = [with_raw("occurred_at", f'"{day.isoformat()}T23:59:59.999Z"') for day in days]
    bad = [with_raw("occurred_at", f'"{day:%Y-%m}-{day.day + 1}T00:00:00.000Z"') for day in month_ends]
    assert len(CHECKS["actions"](good).rows) == len(days)
    assert len(CHECKS["actions"](bad).rejected) == len(month_ends) == 1200
