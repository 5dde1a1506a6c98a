"""One run: a world, a nemesis with a seed, and the checker's verdict."""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos import audits, dump, tampering
from tests.chaos.checker import violations
from tests.chaos.evidence import Evidence, gather
from tests.chaos.faults import FAULTS, drawn
from tests.chaos.history import History
from tests.chaos.mutants import Mutant, mutated
from tests.chaos.nemesis import Fault, Nemesis
from tests.chaos.world import World, world

_DRAIN_SECONDS = 120
_MOST_SHOWN = 30


def torture(
    folder: Path,
    *,
    seed: int,
    faults: int | Sequence[Fault] = len(FAULTS),
    mrfs: Sequence[str] = ("mrf1", "mrf2"),
    mutant: Mutant | None = None,
    is_shown: bool = False,
) -> list[str]:
    """Run the pipeline under faults and return what the checker finds, nothing if the promises hold.

    Args:
        folder: for data, logs and the run's history; what an earlier run left there is removed.
        seed: decides which faults come in which order, and what they hit.
        faults: how many, or which.
        mrfs: bots at work.
        mutant: a mistake in the services; the faults that bring it to light take the place of the others.
        is_shown: print the history while it is written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    history = History(folder / "history.jsonl", is_shown)
    rng = random.Random(seed)
    deck = drawn(faults, rng) if isinstance(faults, int) else faults
    if mutant:
        deck = mutant.faults
    history.add("seed", seed=seed, faults=len(deck), mutant=mutant.name if mutant else None)
    changes = mutated(folder / "mutant", mutant) if mutant else {}
    with world(folder, mrfs, history, changes) as pipeline:
        pipeline.start()
        nemesis = Nemesis(pipeline, rng)
        nemesis.wait_until(
            lambda: all(map(pipeline.has_messages, pipeline.topics)), "the first rows in Kafka"
        )
        nemesis.torment(deck)
        found = _judged(pipeline, _drained(pipeline))
    for violation in found[:_MOST_SHOWN]:
        history.add("violation", what=violation)
    (folder / "violations.txt").write_text("".join(f"{violation}\n" for violation in found))
    history.add("end", violations=len(found))
    return found


def _judged(pipeline: World, evidence: Sequence[Evidence]) -> list[str]:
    """Return what is wrong by the checker, by other readers of the same things, and by the faults."""
    found = pipeline.findings + pipeline.crew.refusals
    for topic in evidence:
        pipeline.history.add(
            "checked",
            topic=topic.topic,
            messages=sum(map(len, topic.logs)),
            loaded=len(topic.table),
            rejected=len(topic.dead_letters),
            replayed=len(topic.replays),
            files_gone=len(topic.losses.files),
            logs_gone=len(topic.losses.logs) - 1,
            sent_again=topic.losses.sent_again,
            gaps_accepted=len(topic.losses.gaps),
        )
        found += violations(topic)
    found += dump.disagreements(evidence, pipeline.kafka.directory / "data", pipeline.kafka.bootstrap_servers)
    found += audits.disagreements(pipeline, evidence)
    for topic in evidence:
        found += tampering.unnoticed(pipeline, topic)
    return found


def _drained(pipeline: World) -> list[Evidence]:
    """End the bots, wait until everything has arrived, end the services, and return the evidence."""
    for bot in pipeline.crew["bot"]:
        pipeline.crew.retire(bot)
    deadline = time.monotonic() + _DRAIN_SECONDS
    while not all(evidence.is_drained() for evidence in _gathered(pipeline)):
        if time.monotonic() > deadline:
            pipeline.find(f"not everything was loaded within {_DRAIN_SECONDS} s of the last fault")
            break
        time.sleep(1.0)
    pipeline.history.add("drained")
    pipeline.crew.dismiss()
    return list(_gathered(pipeline))


def _gathered(pipeline: World) -> Iterator[Evidence]:
    for topic in pipeline.topics:
        yield gather(
            topic,
            pipeline.file(topic),
            pipeline.kafka.bootstrap_servers,
            pipeline.postgres.dsn,
            pipeline.losses[topic],
        )
