"""One run: a world, a nemesis with a seed, and the checker's verdict."""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos.checker import violations
from tests.chaos.evidence import Evidence, gather
from tests.chaos.faults import FAULTS, drawn
from tests.chaos.history import History
from tests.chaos.mutants import Mutant, mutated
from tests.chaos.nemesis import Nemesis
from tests.chaos.world import World, world

_DRAIN_SECONDS = 120
_MOST_SHOWN = 30


def torture(
    folder: Path,
    *,
    seed: int,
    faults: int = len(FAULTS),
    mrfs: Sequence[str] = ("mrf1", "mrf2"),
    mutant: Mutant | None = None,
    is_shown: bool = False,
) -> list[str]:
    """Run the road under faults and return what the checker finds, nothing if the promises hold.

    Args:
        folder: for data, logs and the run's history; what an earlier run left there is removed.
        seed: decides which faults come in which order.
        faults: how many.
        mrfs: bots at work.
        mutant: a mistake in the services; the faults that bring it to light take the place of drawn ones.
        is_shown: print the history while it is written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    history = History(folder / "history.jsonl", is_shown)
    rng = random.Random(seed)
    deck = mutant.faults if mutant else drawn(faults, rng)
    history.add("seed", seed=seed, faults=len(deck), mutant=mutant.name if mutant else None)
    changes = mutated(folder / "mutant", mutant) if mutant else {}
    with world(folder, mrfs, history, changes) as road:
        road.start()
        nemesis = Nemesis(road, rng)
        nemesis.wait_until(lambda: all(map(road.has_messages, road.topics)), "the first rows in Kafka")
        nemesis.torment(deck)
        found: list[str] = []
        for evidence in _drained(road):
            numbers = {"messages": len(evidence.messages), "loaded": len(evidence.rows)}
            numbers |= {"rejected": len(evidence.rejects), "replayed": len(evidence.replays)}
            numbers |= {
                "files_gone": len(evidence.losses.files),
                "losses_accepted": len(evidence.losses.accepted),
            }
            history.add("checked", topic=evidence.topic, **numbers)
            found += violations(evidence)
        found += road.findings + road.crew.refusals
    for violation in found[:_MOST_SHOWN]:
        history.add("violation", what=violation)
    return found


def _drained(road: World) -> list[Evidence]:
    """End the bots, wait until everything has arrived, end the services, and return the evidence."""
    for bot in road.crew["bot"]:
        road.crew.retire(bot)
    deadline = time.monotonic() + _DRAIN_SECONDS
    while not all(evidence.is_drained() for evidence in _gathered(road)):
        if time.monotonic() > deadline:
            road.find(f"not everything was loaded within {_DRAIN_SECONDS} s of the last fault")
            break
        time.sleep(1.0)
    road.history.add("drained")
    road.crew.dismiss()
    return list(_gathered(road))


def _gathered(road: World) -> Iterator[Evidence]:
    for topic in road.topics:
        yield gather(
            topic, road.file(topic), road.kafka.bootstrap_servers, road.postgres.dsn, road.losses[topic]
        )
