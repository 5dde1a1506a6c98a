"""Finds values that violate the contract: rows are checked as the messages the producer would send."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from crmbot_core.contracts import Stream
from crmbot_core.contracts.batch import BatchCheck
from crmbot_producer.adopt.mismatch import Mismatch, Wrong, expected, expression, field_schema
from crmbot_producer.adopt.mismatch import wrong as wrong_value
from crmbot_producer.adopt.structure import Mapped
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.sqlite_page import AS_IT_IS, Page

_PAGE_ROWS = 10_000
_CHAIN = b'{"kafka_partition":0,"previous_id":0,'
# All rows, under an identity that the file may not have yet.
_EVERY_ROW = Identity(str(UUID(int=0)), 0, 2**63 - 1)


class First(NamedTuple):
    """The first row with an invalid value. Reports never quote the value."""

    transaction_id: int
    value: Any


@dataclass
class Tally:
    """How often each kind of invalid value was found, and the first row of each."""

    rows: int = 0
    counts: Counter[Wrong] = field(default_factory=Counter)
    first: dict[Wrong, First] = field(default_factory=dict)

    def add(self, wrong: Wrong, transaction_id: int, value: Any) -> None:  # noqa: ANN401  (any of SQLite's)
        """Count an invalid value, and keep it if it is the first of its kind."""
        self.counts[wrong] += 1
        self.first.setdefault(wrong, First(transaction_id, value))


def value_mismatches(
    file: BotFile, connection: sqlite3.Connection, stream: Stream, mapped: Mapped
) -> list[Mismatch]:
    """Read the whole file and return a mismatch for each kind of invalid value, with one page in memory."""
    tally = Tally()
    check = BatchCheck(stream)
    for page in _pages(file):
        tally.rows += len(page.ids)
        for position, _ in check([_CHAIN + message for message in page.messages]).rejected:
            transaction_id = int(page.ids[position])
            is_stub = transaction_id in page.not_carried
            if is_stub or not _count_errors(stream, page.messages[position], transaction_id, tally):
                _count_stored(stream, connection, transaction_id, tally)
    return [_mismatch(stream, mapped, wrong, tally) for wrong in sorted(tally.counts, key=_first_of(tally))]


def _pages(file: BotFile) -> Iterator[Page]:
    after = 0
    while True:
        with file.snapshot():
            page = file.page(_EVERY_ROW, after, _PAGE_ROWS)
        if page is None:
            return
        yield page
        after = page.last_id


def _count_errors(stream: Stream, message: bytes, transaction_id: int, tally: Tally) -> bool:
    """Count pydantic's errors; return whether the message is JSON, which it is not if it has infinity."""
    try:
        # Turns invalid UTF-8 into text that pydantic rejects.
        values = json.loads((_CHAIN + message).decode(errors=AS_IT_IS))
        stream.model.model_validate(values)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False):
            name = str(problem["loc"][0])
            tally.add(wrong_value(name, problem["input"], problem["type"]), transaction_id, problem["input"])
    except ValueError:
        return False
    return True


def _count_stored(stream: Stream, connection: sqlite3.Connection, transaction_id: int, tally: Tally) -> None:
    """Count the BLOBs and REALs of a row without a message, or else its longest value."""
    names = [column.name for column in stream.sqlite_columns]
    wanted = ", ".join(f"typeof({name}), length(CAST({name} AS BLOB))" for name in names)
    row = connection.execute(
        f"SELECT {wanted} FROM {stream.name} WHERE transaction_id = ?", (transaction_id,)
    ).fetchone()
    if row is None:  # deleted meanwhile
        return
    stored = dict(zip(names, row[::2], strict=True))
    wrong = [Wrong(name, kind, kind.upper()) for name, kind in stored.items() if kind in ("blob", "real")]
    if not wrong:
        _, longest = max((size or 0, name) for name, size in zip(names, row[1::2], strict=True))
        wrong = [Wrong(longest, "text", "TEXT that is too long")]
    for kind in wrong:
        tally.add(kind, transaction_id, 0.0 if kind.storage == "real" else "")


def _first_of(tally: Tally) -> Any:  # noqa: ANN401  (a key function)
    return lambda wrong: (tally.first[wrong].transaction_id, wrong)


def _mismatch(stream: Stream, mapped: Mapped, wrong: Wrong, tally: Tally) -> Mismatch:
    count, first = tally.counts[wrong], tally.first[wrong]
    schema = field_schema(stream, wrong.field)
    column = next(column for column in stream.sqlite_columns if column.name == wrong.field)
    sql = expression(wrong, schema, first.value, is_nullable=column.nullable)
    problem = (
        f"{wrong.field}: {wrong.what} in {count} row{'s' if count > 1 else ''}, first transaction_id "
        f"{first.transaction_id}, where the contract has {expected(schema)}"
    )
    return Mismatch(problem, _mend(mapped, wrong, sql, is_every_row=count == tally.rows))


def _mend(mapped: Mapped, wrong: Wrong, sql: str | None, *, is_every_row: bool) -> str:
    """Return the SQL that fixes a field: the view's expression, or an UPDATE of the bot's table."""
    name, is_kind = wrong.field, f"typeof({wrong.field}) = '{wrong.storage}'"
    if name == "event_id" and sql is None and mapped.id_table:
        return mapped.new_event_ids()
    if sql is None:
        return "only the bot knows the right value: correct it there"
    if mapped.is_view:
        whole = sql if is_every_row else f"CASE WHEN {is_kind} THEN {sql} ELSE {name} END"
        return f"in the view: {whole} AS {name}"
    return f"have the bot write it so, and: UPDATE {mapped.name} SET {name} = {sql} WHERE {is_kind};"
