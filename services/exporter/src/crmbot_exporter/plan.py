"""Loads the sales plan of an MRF from a CSV file."""

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TextIO

from psycopg import sql
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from crmbot_core.contracts.models import Text
from crmbot_core.errors import ConfigurationError
from crmbot_core.warehouse import Connection
from crmbot_exporter.settings import Day


class PlanLine(BaseModel):
    """What one branch should connect of one tariff in a month."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    month: Day = Field(description="first day of the month, such as 2026-03-01")
    branch: Text
    service: Text
    tariff: Text
    units: int = Field(ge=0, le=2**31 - 1)
    monthly_revenue: float = Field(ge=0, lt=1e12, allow_inf_nan=False, description="roubles per month")

    @field_validator("month")
    @classmethod
    def _first_day(cls, month: date) -> date:
        if month.day != 1:
            raise ValueError("give the first day of the month, such as 2026-03-01")
        return month


def read_plan(path: Path) -> list[PlanLine]:
    """Read a plan: a CSV file in UTF-8 whose header names the fields of `PlanLine`.

    Raises:
        ConfigurationError: if the file is unreadable or a line is invalid; names the line and column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(_lines(path, file))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} is not CSV in UTF-8: {error}") from error
    if not lines:
        raise ConfigurationError(f"{path} has no lines below its columns")
    return lines


def load_plan(connection: Connection, mrf: str, lines: list[PlanLine]) -> None:
    """Insert a plan in the caller's transaction; it supersedes earlier plans of its months."""
    columns = sql.SQL(", ").join(map(sql.Identifier, PlanLine.model_fields))
    copy = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(f"crm_bot_plan_{mrf}"), columns)
    with connection.cursor().copy(copy) as rows:
        for line in lines:
            rows.write_row([getattr(line, name) for name in PlanLine.model_fields])


def _lines(path: Path, file: TextIO) -> Iterator[PlanLine]:
    reader = csv.DictReader(file)
    names = reader.fieldnames or []
    if missing := [name for name in PlanLine.model_fields if names.count(name) != 1]:
        raise ConfigurationError(
            f"{path}, line 1: {', '.join(missing)} should be there once, with commas; expected the columns "
            f"{', '.join(PlanLine.model_fields)}"
        )
    for row in reader:
        try:
            yield PlanLine.model_validate(row)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            column = problem["loc"][0] if problem["loc"] else "line"
            raise ConfigurationError(f"{path}, line {reader.line_num}, {column}: {problem['msg']}") from None
