"""One run: a world, a nemesis with a seed, and the checker's verdict."""

import random
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.checker import gather, violations
from tests.chaos.history import History
from tests.chaos.mutants import Mutant, mutated
from tests.chaos.nemesis import FAULTS, Nemesis, drawn
from tests.chaos.world import world

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
        threading.Event().wait(2.0)
        Nemesis(road, rng).torment(deck)
        is_drained = road.drain(_DRAIN_SECONDS)
        history.add("drained", done=is_drained)
        road.crew.dismiss()
        found = (
            [] if is_drained else [f"not everything was loaded within {_DRAIN_SECONDS} s of the last fault"]
        )
        for topic in road.topics:
            evidence = gather(topic, road.file(topic), road.kafka.bootstrap_servers, road.postgres.dsn)
            loaded, rejected = len(evidence.rows), len(evidence.rejects)
            history.add(
                "checked", topic=topic, messages=len(evidence.messages), loaded=loaded, rejected=rejected
            )
            found += violations(evidence)
        found += road.crew.refusals
    for violation in found[:_MOST_SHOWN]:
        history.add("violation", what=violation)
    return found
