"""Somebody changes the warehouse by hand at the end of a run: the services' audit has to notice."""

from collections.abc import Iterator

import psycopg

from tests.chaos.audits import audited
from tests.chaos.evidence import Evidence
from tests.chaos.world import World, stream_and_mrf

# Of the newest row of the file's present identity: each cheat leaves all ids as they are.
_CHEATS = {
    "actions": "city = city || '.'",
    "nature": "event_id = md5(event_id::text)::uuid",
}


def unnoticed(world: World, evidence: Evidence) -> Iterator[str]:
    """Change a row of the topic's table, and yield what the audit overlooks."""
    stream, mrf = stream_and_mrf(evidence.topic)
    with psycopg.connect(world.postgres.dsn, autocommit=True) as connection:
        changed = connection.execute(
            f"UPDATE {evidence.topic} SET {_CHEATS[stream]} WHERE (source_id, transaction_id) = ("
            f"SELECT source_id, transaction_id FROM {evidence.topic} WHERE source_id = %s "
            "ORDER BY transaction_id DESC LIMIT 1)".encode(),
            (evidence.sources[-1].source_id,),
        ).rowcount
    if changed and audited(world, mrf, evidence)[stream]["clean"]:
        yield f"{evidence.topic}: the audit did not notice a row that was changed by hand"
