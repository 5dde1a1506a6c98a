"""Changes a row of the warehouse by hand at the end of a run: the services' audit must detect it."""

from collections.abc import Iterator

import psycopg

from tests.chaos.audits import audit_with_former_sources
from tests.chaos.evidence import Evidence
from tests.chaos.world import World, stream_and_mrf

# Updates of the newest row of the file's current identity; none changes transaction_id.
_UPDATES = {
    "actions": "city = city || '.'",
    "nature": "event_id = md5(event_id::text)::uuid",
}


def undetected(world: World, evidence: Evidence) -> Iterator[str]:
    """Change a row of the topic's table, and yield a violation if the audit does not detect it."""
    stream, mrf = stream_and_mrf(evidence.topic)
    with psycopg.connect(world.postgres.dsn, autocommit=True) as connection:
        changed = connection.execute(
            f"UPDATE {evidence.topic} SET {_UPDATES[stream]} WHERE (source_id, transaction_id) = ("
            f"SELECT source_id, transaction_id FROM {evidence.topic} WHERE source_id = %s "
            "ORDER BY transaction_id DESC LIMIT 1)".encode(),
            (evidence.sources[-1].source_id,),
        ).rowcount
    if changed and audit_with_former_sources(world, mrf, evidence)[stream]["clean"]:
        yield f"{evidence.topic}: the audit did not detect a row that was changed by hand"
