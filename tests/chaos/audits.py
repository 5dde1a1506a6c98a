"""The services' own audit at the end of a run: its verdict has to be the checker's."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.checker import file_violations, warehouse_violations
from tests.chaos.evidence import Evidence
from tests.chaos.world import World


def disagreements(world: World, evidence: Sequence[Evidence]) -> Iterator[str]:
    """Run both audits of each MRF, and yield where they and the checker think differently."""
    by_topic = {topic.topic: topic for topic in evidence}
    for mrf in world.mrfs:
        topics = {f"crm_bot_{stream}_{mrf}": stream for stream in ("actions", "nature")}
        told = audited(world, mrf, *(by_topic[topic] for topic in topics))
        told_by_warehouse = _audit(world, mrf, "--warehouse-only")
        for topic, stream in topics.items():
            ours = [*warehouse_violations(by_topic[topic])]
            yield from _compared(topic, "audit --warehouse-only", told_by_warehouse[stream], ours)
            ours += file_violations(by_topic[topic])
            yield from _compared(topic, "audit", told[stream], ours)


def audited(world: World, mrf: str, *evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Return what the audit of an MRF finds, by stream, when it is told of the topics' former sources."""
    former = sorted({source for topic in evidence for source in _former_sources(topic)})
    return _audit(world, mrf, *(option for source in former for option in ("--former-source", source)))


def _audit(world: World, mrf: str, *options: str) -> dict[str, dict[str, Any]]:
    """Return what the audit found, by stream."""
    environment = {"MRF": mrf, "DATA_DIR": str(world.folder / mrf)}
    code, words = world.crew.try_to_run(environment, "crmbot-producer", "audit", "--json", *options)
    try:
        streams = json.loads(words)["streams"]
    except ValueError:
        world.find(f"the audit of {mrf} ended with {code}: {words}")
        return {stream: {"clean": None} for stream in ("actions", "nature")}
    return {stream["stream"]: stream for stream in streams}


def _compared(topic: str, name: str, told: dict[str, Any], ours: list[str]) -> Iterator[str]:
    if told["clean"] is not (not ours):
        verdict = "clean" if told["clean"] else f"not clean: {told.get('broken_promises')}"
        yield f"{topic}: {name} says {verdict}; the checker has {len(ours)} violations: {ours[:2]}"


def _former_sources(evidence: Evidence) -> set[str]:
    """Return the sources of files that are gone."""
    gone = {row["source_id"] for rows in evidence.losses.files for row in rows}
    return gone - {source.source_id for source in evidence.sources}
