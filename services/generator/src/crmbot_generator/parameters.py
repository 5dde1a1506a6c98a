"""The parameters of a world: a profile, and the user's YAML file over it.

The profiles are in `profiles/`; `typical.yaml` has every parameter, with comments.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crmbot_core.contracts.models import Channel, Segment
from crmbot_core.errors import ConfigurationError
from crmbot_generator.data import read_data

Profile = Literal["small", "typical", "large", "stress"]
ClientKind = Literal["individual", "business"]

Chance = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Months = Annotated[tuple[Positive, ...], Field(min_length=12, max_length=12)]
Week = Annotated[tuple[Weight, ...], Field(min_length=7, max_length=7)]
Day = Annotated[tuple[Weight, ...], Field(min_length=24, max_length=24)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(_Section):
    """How large the branch is."""

    rows_per_day: Annotated[float, Field(gt=0, le=10_000_000)]
    managers: Annotated[int, Field(ge=1, le=100_000)]
    clients: Annotated[int, Field(ge=0, le=100_000_000)]


class Holidays(_Section):
    """Leads on holidays, relative to another day; business clients have none."""

    individual: Chance
    new_year: Chance


class Calendar(_Section):
    """When leads come."""

    growth_per_year: Annotated[float, Field(ge=-0.5, le=1)]
    months: dict[Segment, Months]
    weekdays: dict[ClientKind, Week]
    holidays: Holidays
    hours: dict[ClientKind, Day]
    dispersion: dict[Segment, Positive]
    campaigns_per_year: Annotated[int, Field(ge=0, le=50)]
    month_end: Positive
    quarter_end: Positive


class SegmentShares(_Section):
    """Shares of leads, of leads from known clients, and of clients."""

    leads: Chance
    known: Chance
    clients: Chance


class Duration(_Section):
    """A lognormal duration, in minutes of working time."""

    median: Positive
    sigma: Annotated[float, Field(ge=0, le=3)]


class LeadParameters(_Section):
    """The life of a segment's leads."""

    channels: dict[Channel, Weight]
    first_contact: Duration
    answers: Annotated[tuple[Chance, ...], Field(min_length=1)]
    next_attempt: Duration
    decides_at_once: Chance
    touches: Weight
    between_touches: Duration
    meetings: Chance
    odds: Positive
    silent: Chance


class Odds(_Section):
    """Factors of the odds of an order."""

    meeting: Positive
    attempt: Positive
    slow_contact: Positive
    known_client: Positive
    skill: Annotated[float, Field(ge=0, le=2)]
    channels: dict[Channel, Positive]


class Lost(_Section):
    """Chance that an order is lost at a step, for other reasons than a missing line."""

    application: Chance
    feasibility: Chance
    contract: Chance


class OrderParameters(_Section):
    """The life of a segment's orders: how long each next step takes."""

    feasibility: Duration
    contract: Duration
    connection: Duration
    lost: Lost
    stuck: Chance


class ManagerParameters(_Section):
    """The organisation."""

    segments: dict[Segment, Chance]
    pareto: Annotated[float, Field(gt=1)]
    tenure_years: Positive
    leave_days: Annotated[int, Field(ge=0, le=100)]
    sick_episodes_per_year: Weight


class FaultParameters(_Section):
    """Faults on demand."""

    late: Chance
    duplicate: Chance
    invalid: Chance
    broken_text: Chance
    wrong_clock: Chance
    bursts: Weight
    pauses: Weight


class Parameters(_Section):
    """Everything that a world is made from, besides the seed."""

    size: Size
    calendar: Calendar
    segments: dict[Segment, SegmentShares]
    churn_per_year: Chance
    lead: dict[Segment, LeadParameters]
    odds: Odds
    order: dict[Segment, OrderParameters]
    no_line: dict[Segment, Chance]
    managers: ManagerParameters
    faults: FaultParameters


def read_parameters(profile: Profile, file: Path | None = None, **size: float | None) -> Parameters:
    """Return a profile's parameters, overridden by a YAML file and by sizes that are not None.

    Raises:
        ConfigurationError: the file cannot be read or is wrong; the line and the reason are named.
    """
    values: dict[str, Any] = _merged(read_data("profiles/typical.yaml"), {})
    if profile != "typical":
        values = _merged(values, read_data(f"profiles/{profile}.yaml"))
    text = ""
    if file is not None:
        text, own = _read(file)
        values = _merged(values, own)
    values = _merged(values, {"size": {name: value for name, value in size.items() if value is not None}})
    try:
        return Parameters.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        line = _line(text, problem["loc"])
        raise ConfigurationError(f"{file}, line {line}: {place}: {problem['msg']}") from None


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_text("utf-8")
        own = yaml.safe_load(text) or {}
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{file}, line {line}: {error.problem}") from None
    if not isinstance(own, dict):
        raise ConfigurationError(f"{file}, line 1: not a mapping of parameters")
    return text, own


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with what `over` has instead, mapping by mapping."""
    result = dict(values)
    for name, value in over.items():
        old = result.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[name] = _merged(old, value) if both and old is not None else value
    return result


def _line(text: str, location: tuple[Hashable, ...]) -> int:
    """Return the line of a YAML text that a parameter is on, or that of the nearest one around it."""
    node, line = yaml.compose(text), 1
    for name in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == name]
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
            found = [(node.value[name], node.value[name])]
        else:
            break
        if not found:
            break
        key, node = found[0]
        line = key.start_mark.line + 1
    return line
