"""One run: start the services, inject faults in the order that the seed decides, and check the data."""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos import audits, dump, tampering
from tests.chaos.checker import violations
from tests.chaos.evidence import Evidence, gather
from tests.chaos.faults import FAULTS, draw
from tests.chaos.history import History
from tests.chaos.mutants import Mutant, mutated
from tests.chaos.nemesis import Fault, Nemesis
from tests.chaos.world import World, world

_DRAIN_SECONDS = 120
_MAX_SHOWN = 30


def torture(
    folder: Path,
    *,
    seed: int,
    faults: int | Sequence[Fault] = len(FAULTS),
    mrfs: Sequence[str] = ("mrf1", "mrf2"),
    mutant: Mutant | None = None,
    verbose: bool = False,
) -> list[str]:
    """Run the pipeline under faults and return the violations that the checker finds.

    Args:
        folder: for data, logs and the run's history; it is emptied first.
        seed: decides the order of the faults and their targets.
        faults: their number, or the faults themselves.
        mrfs: MRFs whose bots run.
        mutant: a bug in the services; the faults that expose it replace `faults`.
        verbose: print the history while it is written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    history = History(folder / "history.jsonl", verbose)
    rng = random.Random(seed)
    sequence = draw(faults, rng) if isinstance(faults, int) else faults
    if mutant:
        sequence = mutant.faults
    history.add("seed", seed=seed, faults=len(sequence), mutant=mutant.name if mutant else None)
    changes = mutated(folder / "mutant", mutant) if mutant else {}
    with world(folder, mrfs, history, changes) as pipeline:
        pipeline.start()
        nemesis = Nemesis(pipeline, rng)
        nemesis.wait_until(
            lambda: all(map(pipeline.has_messages, pipeline.topics)), "the first rows in Kafka"
        )
        nemesis.inject(sequence)
        found = _check(pipeline, _drain(pipeline))
    for violation in found[:_MAX_SHOWN]:
        history.add("violation", what=violation)
    (folder / "violations.txt").write_text("".join(f"{violation}\n" for violation in found))
    history.add("end", violations=len(found))
    return found


def _check(pipeline: World, evidence: Sequence[Evidence]) -> list[str]:
    """Return the findings of the faults, of the checker, and of the independent checks."""
    found = pipeline.findings + pipeline.services.unexpected_exits
    for topic in evidence:
        pipeline.history.add(
            "checked",
            topic=topic.topic,
            messages=sum(map(len, topic.logs)),
            loaded=len(topic.table),
            rejected=len(topic.dead_letters),
            replayed=len(topic.replays),
            replaced_files=len(topic.losses.files),
            replaced_logs=len(topic.losses.logs) - 1,
            resends=topic.losses.resends,
            accepted_gaps=len(topic.losses.gaps),
        )
        found += violations(topic)
    found += dump.disagreements(evidence, pipeline.kafka.directory / "data", pipeline.kafka.bootstrap_servers)
    found += audits.disagreements(pipeline, evidence)
    for topic in evidence:
        found += tampering.undetected(pipeline, topic)
    return found


def _drain(pipeline: World) -> list[Evidence]:
    """Stop the bots, wait until every row is loaded, stop the services, and return the evidence."""
    for bot in pipeline.services["bot"]:
        pipeline.services.stop(bot)
    deadline = time.monotonic() + _DRAIN_SECONDS
    while not all(evidence.is_drained() for evidence in _gather(pipeline)):
        if time.monotonic() > deadline:
            pipeline.add_finding(f"not everything was loaded within {_DRAIN_SECONDS} s of the last fault")
            break
        time.sleep(1.0)
    pipeline.history.add("drained")
    pipeline.services.stop_all()
    return list(_gather(pipeline))


def _gather(pipeline: World) -> Iterator[Evidence]:
    for topic in pipeline.topics:
        yield gather(
            topic,
            pipeline.file(topic),
            pipeline.kafka.bootstrap_servers,
            pipeline.postgres.dsn,
            pipeline.losses[topic],
        )
