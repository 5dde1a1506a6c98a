"""Rows of the bot's file that are odd, and dead letters that are put right."""

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
_STRANGERS = 5
_LARGE = 2_000_000
# Rows of these kinds are of leads and orders that are over, so that the bot never goes on with them.
_OVER = {
    "actions": {"result": "refused", "refusal_reason": "x"},
    "nature": {"status": "lost", "lost_reason": "x"},
}
_ROUBLES = {"actions": "potential_revenue", "nature": "one_off_revenue"}


def insert_invalid_rows_into_a_bots_file(nemesis: Nemesis) -> None:
    """What SQLite takes and Kafka or the warehouse does not: dead letters, and the road goes on."""
    topic = nemesis.topic()
    rng = nemesis.rng
    odd: list[dict[str, Any]] = [
        {"city": rng.randbytes(40)},
        {"city": "я" * _LARGE},
        {"city": "zero\0byte"},
        {"event_id": b"\xff\xfe" + rng.randbytes(8)},
        {"manager_name": b""},
        {"lead_id": "x" * 5_000},
        {"occurred_at": "yesterday"},
    ]
    rng.shuffle(odd)
    for changes in odd:
        _insert(nemesis.world, topic, rng, changes)
        nemesis.wait(0.0, 0.3)
    with on_call(nemesis, [topic]) as operator:
        operator.heal("odd rows")


def repair_rejects(nemesis: Nemesis) -> None:
    """Two operators replay the same dead letter at once, or two of the same event: one has it, once.

    What a stranger sent is no row of the bot, and cannot be loaded.
    """
    world, topic = nemesis.world, nemesis.topic()
    stream, _ = stream_and_mrf(topic)
    events = [
        _insert(world, topic, nemesis.rng, {_ROUBLES[stream]: str(number)})
        for number in range(1, _REPAIRS + 1)
    ]
    with on_call(nemesis, [topic], GAP) as operator:
        operator.heal("rows to repair")
        rejects = [reject for event in events if (reject := _link(world, topic, event))]
        if len(rejects) != _REPAIRS:
            world.find(f"{topic}: {len(rejects)} of {_REPAIRS} rows to repair are dead letters")
        for number, reject in enumerate(rejects):
            places = [reject, _twin(nemesis, topic, reject)] if number == 0 else [reject, reject]
            _repair(nemesis, topic, places)
        foreign.send(world, topic, nemesis.rng)
        operator.see_decided("foreign messages")
    strangers = [reject for reject in world.warehouse.open_rejects(topic) if not reject.is_link]
    for reject in nemesis.rng.sample(strangers, min(_STRANGERS, len(strangers))):
        _refuse(nemesis, topic, reject)


def _insert(world: World, topic: str, rng: random.Random, changes: dict[str, Any]) -> str:
    """Commit a row to the bot's file that is odd; return its event as the checker reads it."""
    stream, _ = stream_and_mrf(topic)
    event = changes.get("event_id", foreign.event(rng))
    with closing(bot_file.opened(world.file(topic))) as file:
        names = [name for _, name, *_ in file.execute(f"PRAGMA table_info({stream})")]
        # The first row of a file is never an odd one.
        first = file.execute(f"SELECT * FROM {stream} ORDER BY transaction_id LIMIT 1").fetchone()
        row = dict(zip(names, first, strict=True)) | _OVER[stream] | changes
        del row["transaction_id"]
        # The event is no BLOB but a text, whatever its bytes.
        values = ", ".join("CAST(:event_id AS TEXT)" if n == "event_id" else f":{n}" for n in row)
        file.execute(f"INSERT INTO {stream} ({', '.join(row)}) VALUES ({values})", row | {"event_id": event})
    name = event.decode(errors="surrogateescape") if isinstance(event, bytes) else event
    world.losses[topic].odd.add(name)
    return name


def _link(world: World, topic: str, event_id: str) -> OpenReject | None:
    """Return the bot's own dead letter of an event."""
    for reject in world.warehouse.open_rejects(topic):
        if reject.is_link and Message(reject.key, reject.value).fields.get("event_id") == event_id:
            return reject
    return None


def _twin(nemesis: Nemesis, topic: str, reject: OpenReject) -> OpenReject:
    """Have a second dead letter of the same event: a stranger's message that names another row before it."""
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
        right = {_ROUBLES[stream]: f"{fields[_ROUBLES[stream]]}.00"}
        file = world.folder / f"repaired{number}.json"
        file.write_text(json.dumps(fields | right))
        world.losses[topic].repaired[fields["event_id"]] = right
        commands.append(_replay(topic, reject, "--file", str(file)))
    codes = world.crew.run_at_once(world.operator(topic), *commands)
    spots = [reject.spot for reject in places]
    world.history.add("replayed", topic=topic, places=spots, codes=codes)
    if sorted(codes) != [0, 2]:
        world.find(f"{topic}: two replays at once of {spots} ended with {codes}")


def _refuse(nemesis: Nemesis, topic: str, reject: OpenReject) -> None:
    """Try to load a stranger's message: as it is, or as somebody would put it right."""
    world = nemesis.world
    options: list[str] = []
    fields = Message(reject.key, reject.value).fields
    if fields and nemesis.rng.random() < 0.5:
        file = world.folder / "repaired.json"
        file.write_text(json.dumps(fields | {"kafka_partition": reject.spot[0], "schema_version": 1}))
        options = ["--file", str(file)]
    code, words = world.crew.try_to_run(world.operator(topic), *_replay(topic, reject, *options))
    if code != 2:
        world.find(f"{topic}: the replay of a stranger's message {reject.spot} ended with {code}: {words}")


def _replay(topic: str, reject: OpenReject, *options: str) -> tuple[str, ...]:
    stream, _ = stream_and_mrf(topic)
    place = map(str, reject.spot)
    return ("crmbot-consumer", "rejects", "replay", "--stream", stream, *place, *options)
