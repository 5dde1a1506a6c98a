"""The bot at work: the world goes on, by the clock or faster."""

from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from crmbot_core.contracts import STREAMS
from crmbot_generator.backfill import finish
from crmbot_generator.calendar.days import DAY, local_day
from crmbot_generator.files.bot_files import RandomBytes, check_files, open_file
from crmbot_generator.files.state import StateFiles
from crmbot_generator.parameters import Parameters
from crmbot_generator.world.history import History, Span
from crmbot_generator.world.regions import branches_of
from crmbot_generator.world.state import WorldState
from crmbot_generator.world.world import World

_BATCH_ROWS = 2_000


class Bot:
    """A bot whose world goes on from where its files end, or begins if they have none.

    Args:
        files: the bot's files.
        mrf: the macro-regional branch.
        parameters, seed: of a world that begins; one that goes on keeps its own.
        begins: when a new world begins, in milliseconds since 1970.
    """

    def __init__(self, files: StateFiles, mrf: str, parameters: Parameters, seed: int, begins: int) -> None:
        self._files = files
        self._zones = [branch.timezone for branch in branches_of(mrf)]
        state = self._files.read()
        if state is None:
            state, self._world = self._begin(mrf, parameters, seed, begins)
        else:
            self._world = World(mrf, state.parameters, state.seed, state.first_day, state.leads_per_day)
            self._files.restore_clients(self._world.clients)
            self._world.managers.restore(state.planned_to, state.loads)
            self._world.next_lead, self._world.next_order = state.next_lead, state.next_order
        self._state = state

    @property
    def clock(self) -> int:
        """The world's time when the files were opened."""
        return self._state.clock

    @property
    def next_order(self) -> int:
        """The next order's number."""
        return self._world.next_order

    def step(self, clock: int, now: int) -> int:
        """Write what happens up to a moment of the world, at most a batch of rows; return their number."""
        self._plan_until(clock + DAY)
        number, reached = self._files.happen(clock, now, _BATCH_ROWS)
        self._state = replace(self._state, clock=reached)
        return number

    def _begin(self, mrf: str, parameters: Parameters, seed: int, begins: int) -> tuple[WorldState, World]:
        """Begin a world whose pipeline is full."""
        beginning = History(mrf, parameters, seed, Span(begins - 1, begins))
        world = beginning.world
        world.next_lead, world.next_order = self._files.next_numbers()
        future = [*beginning.rows(), *beginning.future]
        self._files.plan(beginning.state, sorted(future, key=itemgetter(0)), world.clients)
        return beginning.state, world

    def _plan_until(self, at: int) -> None:
        """Put the leads of all days into the agenda that begin up to a moment."""
        while self._state.planned_to < max(local_day(at, zone) for zone in self._zones):
            day = self._state.planned_to + 1
            rows = self._world.rows_of(day)
            self._state = replace(
                self._state,
                planned_to=day,
                next_lead=self._world.next_lead,
                next_order=self._world.next_order,
                loads=self._world.managers.loads,
            )
            self._files.plan(self._state, rows, self._world.clients)


def open_files(folder: Path, mrf: str, now: int, random_bytes: RandomBytes) -> StateFiles:
    """Open a bot's files, make those that are missing, and complete what an earlier process has begun.

    Raises:
        ConfigurationError: a file is another bot's, or the other one of the two.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finish(folder)
    check_files(folder, mrf)
    actions, nature = (
        open_file(folder / f"{name}.db", stream, mrf, random_bytes) for name, stream in STREAMS.items()
    )
    files = StateFiles(actions, nature, random_bytes)
    files.deliver(now)
    return files
