"""What happens to one lead and its order: the rows of both files, with the moment of each."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from crmbot_core.contracts.models import ActionKind, Channel, Result, Segment, Status
from crmbot_generator.world.catalogue import Service, Tariff
from crmbot_generator.world.managers import Manager

StreamName = Literal["actions", "nature"]

# The columns of a row besides `event_id`, `occurred_at` and `recorded_at`, which it gets when it is written.
_SHARED = ("lead_id", "client_id", "segment", "manager_id", "manager_name", "branch", "city")
COLUMNS: dict[StreamName, tuple[str, ...]] = {
    "actions": (
        *_SHARED,
        *("client_name", "action", "channel", "product", "result", "refusal_reason", "potential_revenue"),
    ),
    "nature": (
        *_SHARED,
        *(
            "order_id",
            "service",
            "tariff",
            "units",
            "status",
            "lost_reason",
            "one_off_revenue",
            "monthly_revenue",
        ),
    ),
}


class Row(NamedTuple):
    """A row to be.

    Attributes:
        at: when it is written, in milliseconds since 1970.
        stream: of which file.
        values: in the order of `COLUMNS`.
        lag: by how much earlier it happened, in milliseconds.
        fault: its kind, if there is one; see `faults`.
    """

    at: int
    stream: StreamName
    values: tuple[Any, ...]
    lag: int = 0
    fault: str | None = None


_new = tuple.__new__  # half as long as Row's own constructor takes


@dataclass(slots=True)
class Lead:
    """What stays the same in the life of a lead.

    Attributes:
        lead_id: mrf1-L00000041.
        client: the client's number.
        client_id: mrf1-C00000017.
        client_name: the client's name.
        segment: the client's segment.
        is_known: whether the client has a service already.
        manager: who works on it.
        channel: how it came.
        service, tariff, units: what is wanted.
        monthly, one_off: roubles for all units.
    """

    lead_id: str
    client: int
    client_id: str
    client_name: str
    segment: Segment
    is_known: bool
    manager: Manager
    channel: Channel
    service: Service
    tariff: Tariff
    units: int
    monthly: int
    one_off: int


class Story:
    """The rows of one lead, in the order in which they happen; those before `since` are left out.

    Attributes:
        lead: whose story it is.
        rows: what has happened so far.
        connected_at: when the order was connected, None if it was not.
    """

    __slots__ = ("_revenue", "_shared", "_since", "connected_at", "lead", "rows")

    def __init__(self, lead: Lead, since: int) -> None:
        manager = lead.manager
        branch = manager.branch
        self.lead = lead
        self.rows: list[Row] = []
        self.connected_at: int | None = None
        self._since = since
        self._shared = (
            lead.lead_id,
            lead.client_id,
            lead.segment,
            manager.manager_id,
            manager.name,
            branch.name,
            branch.city,
        )
        self._revenue = f"{lead.monthly}.00"

    def action(
        self, at: int, action: ActionKind, channel: Channel, result: Result, reason: str | None = None
    ) -> None:
        """Add what the manager did."""
        if at >= self._since:
            lead = self.lead
            own = (lead.client_name, action, channel, lead.service.name, result, reason, self._revenue)
            self.rows.append(_new(Row, (at, "actions", self._shared + own, 0, None)))

    def order_step(self, at: int, order_id: str, status: Status, reason: str | None = None) -> None:
        """Add a step of the order."""
        if status == "connected":
            self.connected_at = at
        if at >= self._since:
            lead = self.lead
            own = (order_id, lead.service.name, lead.tariff.name, lead.units, status, reason)
            revenue = (f"{lead.one_off}.00", self._revenue)
            self.rows.append(_new(Row, (at, "nature", self._shared + own + revenue, 0, None)))
