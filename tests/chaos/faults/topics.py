"""What happens to topics: foreign messages and their repair, retention, more partitions."""

import json
from itertools import pairwise

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.chaos import foreign
from tests.chaos.evidence import Place, Range, committed_messages
from tests.chaos.nemesis import Nemesis
from tests.chaos.world import stream_and_mrf

_WAITING_MESSAGES = 40
_REPLAYS = 3


def send_foreign_messages(nemesis: Nemesis) -> None:
    foreign.send(nemesis.world, nemesis.topic(), nemesis.rng)


def repair_rejects(nemesis: Nemesis) -> None:
    """Two operators replay the same reject at once: one of them must have it, once."""
    topic = nemesis.topic()
    foreign.send(nemesis.world, topic, nemesis.rng)
    stream, mrf = stream_and_mrf(topic)
    nemesis.wait_until(lambda: bool(nemesis.world.open_rejects(topic)), f"rejects of {topic}")
    for partition, offset in nemesis.world.open_rejects(topic)[:_REPLAYS]:
        repaired = foreign.repaired(nemesis.world, topic, nemesis.rng)
        file = nemesis.world.folder / "repaired.json"
        file.write_bytes(repaired)
        command = ("crmbot-consumer", "rejects", "replay", str(partition), str(offset), "--file", str(file))
        key = json.loads(repaired)["lead_id"]
        codes = nemesis.world.crew.run_twice({"MRF": mrf, "STREAM": stream}, *command, "--key", key)
        nemesis.world.history.add("replayed", topic=topic, partition=partition, offset=offset, codes=codes)
        if sorted(codes) != [0, 2]:
            nemesis.world.find(f"{topic}: two replays of {(partition, offset)} ended with {codes}")


def let_retention_overtake_the_consumers(nemesis: Nemesis) -> None:
    """They must stop and say so; then the operator accepts the loss."""
    world, topic = nemesis.world, nemesis.topic()
    stream, mrf = stream_and_mrf(topic)
    consumers = world.consumers(topic)
    for member in consumers:
        world.crew.retire(member)
    _wait_for_messages(nemesis, topic, _WAITING_MESSAGES)
    # At least one message is lost: the end is not the first that waits in its partition.
    waiting = [after for before, after in pairwise(_waiting(nemesis, topic)) if before[0] == after[0]]
    partition, end = nemesis.rng.choice(waiting)
    start = world.ledger_ends(topic).get(partition, 0)
    messages = committed_messages(topic, world.kafka.bootstrap_servers)
    admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap_servers})
    for answer in admin.delete_records([TopicPartition(topic, partition, end)]).values():
        answer.result(30)
    losses = world.losses[topic]
    losses.deleted.update({p: m for p, m in messages.items() if p[0] == partition and p[1] < end})
    world.history.add("deleted", topic=topic, partition=partition, start=start, end=end)
    losses.accepted.append(Range(partition, start, end))
    with world.crew.expecting(f"consumer-{mrf}-{stream}", "data loss") as has_stopped:
        for member in consumers:
            world.crew.rehire(member)
        nemesis.wait_until(has_stopped.is_set, f"a consumer of {topic} stops: data loss")
        command = ("crmbot-consumer", "accept-loss", "--partition", str(partition))
        code, _ = world.crew.try_to_run({"MRF": mrf, "STREAM": stream}, *command)
        if code != 0:
            world.find(f"{topic}: the loss of partition {partition} could not be accepted")


def raise_the_number_of_partitions(nemesis: Nemesis) -> None:
    """Nothing may move until everything is loaded; then the operator has the rows spread anew."""
    world, topic = nemesis.world, nemesis.topic()
    stream, mrf = stream_and_mrf(topic)
    number = world.partition_count(topic) + 1
    consumers = world.consumers(topic)
    (producer,) = world.crew[f"producer-{mrf}-{stream}"]
    world.crew.run({"MRF": mrf, "PARTITIONS": str(number)}, "crmbot-producer", "topics")
    for member in consumers:
        world.crew.retire(member)
    # Rows of the same leads, sent before the producer can see the new partition and after.
    _wait_for_messages(nemesis, topic, _WAITING_MESSAGES)
    world.crew.restart(producer)
    _wait_for_messages(nemesis, topic, 2 * _WAITING_MESSAGES)
    world.crew.retire(producer)
    environment = {"MRF": mrf, "DATA_DIR": str(world.folder / mrf)}
    command = ("crmbot-producer", "repartition", "--stream", stream)
    code, words = world.crew.try_to_run(environment, *command)
    # A new bot's file of which nothing was sent before takes all partitions by itself.
    if code == 0 and "all" not in words.split():
        world.find(f"{topic} was spread over {number} partitions before everything was loaded")
    for member in consumers:
        world.crew.rehire(member)
    nemesis.wait_until(
        lambda: world.crew.try_to_run(environment, *command)[0] == 0,
        f"{topic} is spread over {number} partitions",
    )
    world.crew.rehire(producer)
    nemesis.wait_until(
        lambda: number - 1 in world.ledger_ends(topic), f"rows of {topic} in its new partition"
    )


def _wait_for_messages(nemesis: Nemesis, topic: str, number: int) -> None:
    nemesis.wait_until(lambda: len(_waiting(nemesis, topic)) >= number, f"messages wait in {topic}")


def _waiting(nemesis: Nemesis, topic: str) -> list[Place]:
    """Return the messages that are not loaded, in the order of partitions and offsets."""
    ends = nemesis.world.ledger_ends(topic)
    messages = committed_messages(topic, nemesis.world.kafka.bootstrap_servers)
    return sorted(place for place in messages if place[1] >= ends.get(place[0], 0))
