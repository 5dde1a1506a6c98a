"""Invalid rows of the bot's file, and dead letters that are corrected and replayed."""

import json
import random
import re
from contextlib import closing
from typing import Any

from tests.chaos import bot_file, foreign
from tests.chaos.foreign import Foreign
from tests.chaos.messages import Message
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_call import GAP, on_call
from tests.chaos.warehouse import OpenReject
from tests.chaos.world import World, stream_and_mrf

_REPAIRS = 3
_FOREIGN = 5
_LARGE = 2_000_000
# Final states: the bot writes no further rows of such leads and orders.
_FINAL = {
    "actions": {"result": "refused", "refusal_reason": "x"},
    "nature": {"status": "lost", "lost_reason": "x"},
}
_ROUBLES = {"actions": "potential_revenue", "nature": "one_off_revenue"}


def insert_invalid_rows_into_a_bots_file(nemesis: Nemesis) -> None:
    """Rows that Kafka or the warehouse cannot hold must become dead letters and block nothing."""
    topic = nemesis.topic()
    rng = nemesis.rng
    invalid: list[dict[str, Any]] = [
        {"city": rng.randbytes(40)},
        {"city": "я" * _LARGE},
        {"city": "zero\0byte"},
        {"event_id": b"\xff\xfe" + rng.randbytes(8)},
        {"manager_name": b""},
        {"lead_id": "x" * 5_000},
        {"occurred_at": "yesterday"},
    ]
    rng.shuffle(invalid)
    for changes in invalid:
        _insert(nemesis.world, topic, rng, changes)
        nemesis.wait(0.0, 0.3)
    with on_call(nemesis, [topic]) as operator:
        operator.recover("invalid rows")


def repair_rejects(nemesis: Nemesis) -> None:
    """Two operators replay the same dead letter, or two of the same event, at once: one must succeed.

    Foreign messages are no rows of the bot and must not be loaded.
    """
    world, topic = nemesis.world, nemesis.topic()
    stream, _ = stream_and_mrf(topic)
    events = [
        _insert(world, topic, nemesis.rng, {_ROUBLES[stream]: str(number)})
        for number in range(1, _REPAIRS + 1)
    ]
    with on_call(nemesis, [topic], GAP) as operator:
        operator.recover("rows to repair")
        rejects = [reject for event in events if (reject := _link(world, topic, event))]
        if len(rejects) != _REPAIRS:
            world.add_finding(f"{topic}: {len(rejects)} of {_REPAIRS} rows to repair are dead letters")
        for number, reject in enumerate(rejects):
            places = [reject, _twin(nemesis, topic, reject)] if number == 0 else [reject, reject]
            _repair(nemesis, topic, places)
        foreign.send(world, topic, nemesis.rng)
        operator.wait_until_processed("foreign messages")
    foreign_rejects = [reject for reject in world.warehouse.open_rejects(topic) if not reject.is_link]
    for reject in nemesis.rng.sample(foreign_rejects, min(_FOREIGN, len(foreign_rejects))):
        _replay_foreign(nemesis, topic, reject)


def _insert(world: World, topic: str, rng: random.Random, changes: dict[str, Any]) -> str:
    """Commit an invalid row to the bot's file; return its event_id as the checker reads it."""
    stream, _ = stream_and_mrf(topic)
    event = changes.get("event_id", foreign.event(rng))
    with closing(bot_file.connect(world.file(topic))) as file:
        names = [name for _, name, *_ in file.execute(f"PRAGMA table_info({stream})")]
        # The first row of a file is always valid.
        first = file.execute(f"SELECT * FROM {stream} ORDER BY transaction_id LIMIT 1").fetchone()
        row = dict(zip(names, first, strict=True)) | _FINAL[stream] | changes
        del row["transaction_id"]
        # event_id is text even if its bytes are not UTF-8.
        values = ", ".join("CAST(:event_id AS TEXT)" if n == "event_id" else f":{n}" for n in row)
        file.execute(f"INSERT INTO {stream} ({', '.join(row)}) VALUES ({values})", row | {"event_id": event})
    name = event.decode(errors="surrogateescape") if isinstance(event, bytes) else event
    world.losses[topic].invalid.add(name)
    return name


def _link(world: World, topic: str, event_id: str) -> OpenReject | None:
    """Return the bot's dead letter of an event."""
    for reject in world.warehouse.open_rejects(topic):
        if reject.is_link and Message(reject.key, reject.value).fields.get("event_id") == event_id:
            return reject
    return None


def _twin(nemesis: Nemesis, topic: str, reject: OpenReject) -> OpenReject:
    """Create a second dead letter of the same event: a foreign copy with another previous_id."""
    world, partition = nemesis.world, reject.spot[0]
    value = re.sub(rb'"previous_id":\d+', b'"previous_id":1', reject.value or b"", count=1)
    foreign.send_all(world, topic, [Foreign(partition, reject.key, value)], nemesis.rng)
    found: list[OpenReject] = []

    def is_there() -> bool:
        found.extend(r for r in world.warehouse.open_rejects(topic) if r.value == value)
        return bool(found)

    return found[0] if nemesis.wait_until(is_there, f"{topic}: a second dead letter of an event") else reject


def _repair(nemesis: Nemesis, topic: str, places: list[OpenReject]) -> None:
    world = nemesis.world
    stream, _ = stream_and_mrf(topic)
    commands = []
    for number, reject in enumerate(places):
        fields = Message(reject.key, reject.value).fields
        corrected = {_ROUBLES[stream]: f"{fields[_ROUBLES[stream]]}.00"}
        file = world.folder / f"repaired{number}.json"
        file.write_text(json.dumps(fields | corrected))
        world.losses[topic].repaired[fields["event_id"]] = corrected
        commands.append(_replay(topic, reject, "--file", str(file)))
    codes = world.services.run_concurrently(world.operator_environment(topic), *commands)
    spots = [reject.spot for reject in places]
    world.history.add("replayed", topic=topic, places=spots, codes=codes)
    if sorted(codes) != [0, 2]:
        world.add_finding(f"{topic}: two concurrent replays of {spots} exited with {codes}")


def _replay_foreign(nemesis: Nemesis, topic: str, reject: OpenReject) -> None:
    """Try to replay a foreign message, unchanged or corrected; it must be refused."""
    world = nemesis.world
    options: list[str] = []
    fields = Message(reject.key, reject.value).fields
    if fields and nemesis.rng.random() < 0.5:
        file = world.folder / "repaired.json"
        file.write_text(json.dumps(fields | {"kafka_partition": reject.spot[0], "schema_version": 1}))
        options = ["--file", str(file)]
    code, line = world.services.run_unchecked(
        world.operator_environment(topic), *_replay(topic, reject, *options)
    )
    if code != 2:
        world.add_finding(
            f"{topic}: the replay of the foreign message {reject.spot} exited with {code}: {line}"
        )


def _replay(topic: str, reject: OpenReject, *options: str) -> tuple[str, ...]:
    stream, _ = stream_and_mrf(topic)
    place = map(str, reject.spot)
    return ("crmbot-consumer", "rejects", "replay", "--stream", stream, *place, *options)
