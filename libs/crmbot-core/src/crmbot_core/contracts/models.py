"""The messages of both streams, as pydantic models: the single source of the contract.

The SQLite tables, the JSON Schemas, the COPY column order and the fast batch check are derived from these
fields; the warehouse tables in `sql/` are checked against them by tests.

Every value has the text form that SQLite, JSON and COPY share, so that nothing is converted on the way:
timestamps are UTC with milliseconds, money is roubles with two decimals, identifiers are lower-case UUIDs.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SCHEMA_VERSION = 1

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# Matches exactly the days from 2000 to 2099.
_DAYS = (
    "20[0-9]{2}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])",
    "20[0-9]{2}-(0[469]|11)-(0[1-9]|[12][0-9]|30)",
    "20[0-9]{2}-02-(0[1-9]|1[0-9]|2[0-8])",
    "20([02468][048]|[13579][26])-02-29",
)
TIMESTAMP_PATTERN = rf"^({'|'.join(_DAYS)})T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{{3}}Z$"
ROUBLES_PATTERN = r"^(0|[1-9][0-9]{0,11})\.[0-9]{2}$"
MRF_PATTERN = r"^mrf[1-9][0-9]{0,2}$"


Uuid = Annotated[str, StringConstraints(pattern=UUID_PATTERN)]
Timestamp = Annotated[str, StringConstraints(pattern=TIMESTAMP_PATTERN)]
Roubles = Annotated[str, StringConstraints(pattern=ROUBLES_PATTERN)]
Mrf = Annotated[str, StringConstraints(pattern=MRF_PATTERN)]
# The warehouse cannot store NUL, and U+001F separates the values in a row's digest.
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00\x1f]*$")]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
TransactionId = Annotated[int, Field(ge=1, le=2**63 - 1)]
PreviousId = Annotated[int, Field(ge=0, le=2**63 - 1)]
Partition = Annotated[int, Field(ge=0, le=2**31 - 1)]

Segment = Literal["individual", "small_business", "enterprise", "government"]
ActionKind = Literal["lead_created", "call", "message", "meeting", "presentation", "offer"]
Channel = Literal["phone", "messenger", "email", "office", "site_visit"]
Result = Literal["new", "interested", "callback", "no_answer", "thinking", "refused", "order_placed"]
Status = Literal["application", "feasibility", "contract", "connected", "lost"]


class Transaction(BaseModel):
    """One transaction of a bot; the key of its message is `lead_id`.

    `kafka_partition` and `previous_id` chain each source's messages in each partition.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    kafka_partition: Partition = Field(description="partition that the producer sent the message to")
    previous_id: PreviousId = Field(
        description="transaction_id of the source's message before it in this partition, 0 for the first"
    )
    schema_version: Literal[1] = Field(description="version of this contract")
    transaction_id: TransactionId = Field(description="number of the row in the bot's file, in commit order")
    event_id: Uuid = Field(description="identity of the row, unique everywhere")
    source_id: Uuid = Field(description="identity of the bot's file")
    mrf: Mrf = Field(description="macro-regional branch")
    occurred_at: Timestamp = Field(description="when it happened, UTC")
    recorded_at: Timestamp = Field(description="when the bot wrote it down, UTC")
    lead_id: Text = Field(description="lead, the key: rows of one lead stay in order")
    client_id: Text = Field(description="client")
    segment: Segment = Field(description="market segment of the client")
    manager_id: Text = Field(description="manager")
    manager_name: Text = Field(description="manager's full name")
    branch: Text = Field(description="regional branch of the manager")
    city: Text = Field(description="city of the manager")


class Action(Transaction):
    """One thing that a manager did in the bot: lead generation."""

    client_name: Text = Field(description="client's name")
    action: ActionKind = Field(description="kind of action")
    channel: Channel = Field(description="how the client was reached")
    product: Text = Field(description="product of interest")
    result: Result = Field(description="outcome of the action")
    refusal_reason: Text | None = Field(description="why the client refused; only with result = refused")
    potential_revenue: Roubles = Field(description="what the lead could bring in a month, roubles")


class Nature(Transaction):
    """One step of an order's life, from application to connection or loss: conversion."""

    order_id: Text = Field(description="order")
    service: Text = Field(description="service that is sold")
    tariff: Text = Field(description="tariff of the service")
    units: Count = Field(description="connections sold, the physical units of the sale")
    status: Status = Field(description="step that the order reached")
    lost_reason: Text | None = Field(description="why the order was lost; only with status = lost")
    one_off_revenue: Roubles = Field(description="one-off payment, roubles")
    monthly_revenue: Roubles = Field(description="payment per month, roubles")


class Stub(BaseModel):
    """Replaces a row that Kafka cannot carry; the consumer turns it into a dead letter."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kafka_partition: Partition
    previous_id: PreviousId
    transaction_id: TransactionId
    source_id: Uuid
    event_id: str = Field(description="as far as it is text")
    stub: Literal["too_large", "not_text"] = Field(description="why the row is not carried")
    size: int = Field(ge=0, description="bytes of the row's values")
    digest: str = Field(
        pattern="^[0-9a-f]{32}$", description="md5 of the row's values, as the audit makes it"
    )
