"""Runs the services' own audit at the end of a run: its verdict must match the checker's."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.checker import file_violations, warehouse_violations
from tests.chaos.evidence import Evidence
from tests.chaos.world import World


def disagreements(world: World, evidence: Sequence[Evidence]) -> Iterator[str]:
    """Run both forms of the audit for each MRF, and yield where they and the checker disagree."""
    by_topic = {topic.topic: topic for topic in evidence}
    for mrf in world.mrfs:
        topics = {f"crm_bot_{stream}_{mrf}": stream for stream in ("actions", "nature")}
        full = audit_with_former_sources(world, mrf, *(by_topic[topic] for topic in topics))
        warehouse_only = _run_audit(world, mrf, "--warehouse-only")
        for topic, stream in topics.items():
            ours = [*warehouse_violations(by_topic[topic])]
            yield from _compared(topic, "audit --warehouse-only", warehouse_only[stream], ours)
            ours += file_violations(by_topic[topic])
            yield from _compared(topic, "audit", full[stream], ours)


def audit_with_former_sources(world: World, mrf: str, *evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Return the result of an MRF's audit by stream; the topics' former sources are passed as options."""
    former = sorted({source for topic in evidence for source in _former_sources(topic)})
    return _run_audit(world, mrf, *(option for source in former for option in ("--former-source", source)))


def _run_audit(world: World, mrf: str, *options: str) -> dict[str, dict[str, Any]]:
    """Return the result of the audit by stream."""
    environment = {"MRF": mrf, "DATA_DIR": str(world.folder / mrf)}
    code, line = world.services.run_unchecked(environment, "crmbot-producer", "audit", "--json", *options)
    try:
        streams = json.loads(line)["streams"]
    except ValueError:
        world.add_finding(f"the audit of {mrf} exited with {code}: {line}")
        return {stream: {"clean": None} for stream in ("actions", "nature")}
    return {stream["stream"]: stream for stream in streams}


def _compared(topic: str, name: str, theirs: dict[str, Any], ours: list[str]) -> Iterator[str]:
    if theirs["clean"] is not (not ours):
        verdict = "clean" if theirs["clean"] else f"not clean: {theirs.get('broken_promises')}"
        yield f"{topic}: {name} reports {verdict}; the checker has {len(ours)} violations: {ours[:2]}"


def _former_sources(evidence: Evidence) -> set[str]:
    """Return the sources of replaced files that the current file does not have."""
    replaced = {row["source_id"] for rows in evidence.losses.files for row in rows}
    return replaced - {source.source_id for source in evidence.sources}
