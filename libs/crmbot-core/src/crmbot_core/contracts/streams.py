"""The two streams: their names, columns and SQLite tables."""

import re
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from crmbot_core.contracts.models import MRF_PATTERN, Action, Nature, Transaction
from crmbot_core.contracts.source_table import SOURCE_DDL
from crmbot_core.errors import ConfigurationError

# Added by the producer from the file's `source` table; not stored in the bot's rows.
SOURCE_COLUMNS = ("schema_version", "source_id", "mrf")
# Added by the producer: a message's position in its source's chain.
CHAIN_COLUMNS = ("kafka_partition", "previous_id")


@dataclass(frozen=True)
class Column:
    """A field of the contract as a column. `values` are the allowed ones, empty if all are."""

    name: str
    kind: Literal["text", "integer"]
    nullable: bool
    values: tuple[str | int, ...]


@dataclass(frozen=True)
class Stream:
    """A stream of transactions; `name` is also its table's name in the bot's SQLite file."""

    name: Literal["actions", "nature"]
    model: type[Transaction]

    def topic(self, mrf: str) -> str:
        """Return the Kafka topic of one MRF; the warehouse table has the same name."""
        return f"crm_bot_{self.name}_{checked_mrf(mrf)}"

    def table(self, mrf: str) -> str:
        """Return the warehouse table of one MRF."""
        return self.topic(mrf)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The contract's fields in message, COPY and JSON order."""
        return tuple(_column(name, field.annotation) for name, field in self.model.model_fields.items())

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of `columns`, in the same order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def row_columns(self) -> tuple[Column, ...]:
        """The fields of the row itself, without its position in the chain: they are equal in all copies."""
        return tuple(column for column in self.columns if column.name not in CHAIN_COLUMNS)

    @cached_property
    def sqlite_columns(self) -> tuple[Column, ...]:
        """The columns of the rows in the bot's file."""
        return tuple(column for column in self.row_columns if column.name not in SOURCE_COLUMNS)

    @property
    def sqlite_ddl(self) -> str:
        """The DDL of the bot's file: the stream's table and `source`."""
        columns = ",\n  ".join(_sqlite_column(column) for column in self.sqlite_columns)
        return f"{SOURCE_DDL};\nCREATE TABLE {self.name} (\n  {columns}\n);\n"


ACTIONS = Stream("actions", Action)
NATURE = Stream("nature", Nature)
STREAMS = {stream.name: stream for stream in (ACTIONS, NATURE)}


def stream_named(name: str) -> Stream:
    """Return the stream of that name; raise ConfigurationError for any other."""
    for stream in STREAMS.values():
        if stream.name == name:
            return stream
    raise ConfigurationError(f"no stream {name!r}: use one of {', '.join(STREAMS)}")


def checked_mrf(mrf: str) -> str:
    """Return `mrf` if it is a name like mrf1, which is safe inside topic and table names.

    Raises:
        ConfigurationError: for anything else.
    """
    if not re.fullmatch(MRF_PATTERN, mrf):
        raise ConfigurationError(f"no MRF {mrf!r}: expected a name such as mrf1")
    return mrf


def _column(name: str, annotation: Any) -> Column:  # noqa: ANN401  (what typing calls an annotation)
    options = get_args(annotation) if NoneType in get_args(annotation) else (annotation,)
    (kind,) = (option for option in options if option is not NoneType)
    values = get_args(kind) if get_origin(kind) is Literal else ()
    is_integer = kind is int or (values and isinstance(values[0], int))
    return Column(name, "integer" if is_integer else "text", NoneType in options, values)


def _sqlite_column(column: Column) -> str:
    if column.name == "transaction_id":
        return "transaction_id INTEGER PRIMARY KEY AUTOINCREMENT"
    parts = [column.name, column.kind.upper()]
    if not column.nullable:
        parts.append("NOT NULL")
    if column.values:
        parts.append(f"CHECK ({column.name} IN ({', '.join(repr(value) for value in column.values)}))")
    return " ".join(parts)
