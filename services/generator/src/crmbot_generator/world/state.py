"""What a world is made from, and how far it has come: all that is needed to go on with it."""

from dataclasses import dataclass

from crmbot_generator.parameters import Parameters


@dataclass(frozen=True)
class WorldState:
    """The state of a world.

    Attributes:
        parameters: as they were when the world began.
        seed: of the world.
        first_day: of the world, by number.
        leads_per_day: of the demand.
        planned_to: the last local day whose leads are in the agenda.
        next_lead, next_order: the next numbers.
        loads: of the managers' posts.
        clock: all rows up to this moment are written; milliseconds since 1970.
    """

    parameters: Parameters
    seed: int
    first_day: int
    leads_per_day: float
    planned_to: int
    next_lead: int
    next_order: int
    loads: list[float]
    clock: int
