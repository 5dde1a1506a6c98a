"""What happens to topics: foreign messages, retention, wrong settings, more partitions."""

import re
from collections.abc import Sequence
from itertools import pairwise

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.chaos import bot_file, foreign
from tests.chaos.faults.files import replace
from tests.chaos.faults.rows import repair_rejects
from tests.chaos.losses import Range
from tests.chaos.messages import Spot, committed_messages
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_call import GAP, OVERTAKEN, on_call
from tests.chaos.services import Member
from tests.chaos.world import stream_and_mrf

__all__ = [
    "add_partitions_to_a_topic",
    "let_retention_overtake_the_consumers",
    "repair_rejects",
    "send_foreign_messages",
    "set_compaction",
]

_WAITING_MESSAGES = 40
_COMPACTED = "cleanup.policy is compact"


def send_foreign_messages(nemesis: Nemesis) -> None:
    """A forged message that claims to follow rows nobody has sent looks like a loss, until the next row."""
    topic = nemesis.topic()
    with on_call(nemesis, [topic], GAP) as operator:
        foreign.send(nemesis.world, topic, nemesis.rng)
        operator.see_decided("foreign messages")


def let_retention_overtake_the_consumers(nemesis: Nemesis) -> None:
    """They must stop and say so; what the operator does then brings the rows all the same.

    Unless the bot's file is another one by then: rows that nobody has any more can only be given up.
    """
    world, topic = nemesis.world, nemesis.topic()
    consumers = retired(nemesis, world.consumers(topic))
    wait_for_messages(nemesis, topic, _WAITING_MESSAGES)
    # At least one message is lost: the end is not the first that waits in its partition.
    waiting = [after for before, after in pairwise(_waiting(nemesis, topic)) if before[0] == after[0]]
    partition, end = nemesis.rng.choice(waiting)
    _, start = world.warehouse.ledger_ends(topic).get(partition, (0, 0))
    messages = committed_messages(topic, world.kafka.bootstrap_servers)
    for answer in world.admin.delete_records([TopicPartition(topic, partition, end)]).values():
        answer.result(30)
    log = world.losses[topic].logs[-1]
    log.messages |= {p: m for p, m in messages.items() if p[0] == partition and p[1] < end}
    log.accepted.append(Range(partition, start, end))
    world.history.add("deleted", topic=topic, partition=partition, start=start, end=end)
    if nemesis.rng.random() < 0.4:
        replace(nemesis, topic)
    with on_call(nemesis, [topic], OVERTAKEN, GAP) as operator:
        for member in consumers:
            world.crew.rehire(member)
        operator.wait_for(topic, OVERTAKEN)
        operator.heal("accept-loss, resend")


def set_compaction(nemesis: Nemesis) -> None:
    """Services that start must refuse to work with such a topic; `topics` puts it right."""
    world, topic = nemesis.world, nemesis.topic()
    entry = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for answer in world.admin.incremental_alter_configs([resource]).values():
        answer.result(30)
    with on_call(nemesis, [topic], _COMPACTED) as operator:
        for member in (world.producer(topic), *world.consumers(topic)):
            with world.crew.expecting(member.name, _COMPACTED) as has_stopped:
                world.crew.restart(member)
                nemesis.wait_until(has_stopped.is_set, f"{member.name} refuses a compacted topic")
        operator.heal("topics")


def add_partitions_to_a_topic(nemesis: Nemesis) -> None:
    """Nothing may move until everything is loaded; then the operator repartitions."""
    world, topic = nemesis.world, nemesis.topic()
    _, mrf = stream_and_mrf(topic)
    # A new bot's file of which nothing was sent before would take all partitions by itself.
    present = bot_file.sources(world.file(topic))[-1]
    nemesis.wait_until(
        lambda: world.warehouse.is_loaded(topic, present.source_id, present.starts_after + 1),
        f"rows of the present identity of {topic} are loaded",
    )
    number = world.partitions[mrf] = world.partitions[mrf] + 1
    world.crew.run(world.operator(topic), "crmbot-producer", "topics")
    consumers = retired(nemesis, world.consumers(topic))
    # Rows of the same leads, sent before the producer can see the new partition and after.
    wait_for_messages(nemesis, topic, _WAITING_MESSAGES)
    producer = world.producer(topic)
    world.crew.restart(producer)
    wait_for_messages(nemesis, topic, 2 * _WAITING_MESSAGES)
    world.crew.retire(producer)
    _repartition(nemesis, topic, 2, "not everything is loaded yet: .* nothing is changed")
    for member in consumers:
        world.crew.rehire(member)
    _repartition(
        nemesis, topic, 0, f"new rows of .* go to {number} partitions, those before to [1-{number - 1}]$"
    )
    _repartition(nemesis, topic, 0, f"rows of .* go to all {number} partitions already$")
    world.crew.rehire(producer)
    nemesis.wait_until(
        lambda: number - 1 in world.warehouse.ledger_ends(topic), f"rows of {topic} in its new partition"
    )


def retired(nemesis: Nemesis, members: Sequence[Member]) -> Sequence[Member]:
    """End services for a while."""
    for member in members:
        nemesis.world.crew.retire(member)
    return members


def wait_for_messages(nemesis: Nemesis, topic: str, number: int) -> None:
    nemesis.wait_until(lambda: len(_waiting(nemesis, topic)) >= number, f"messages wait in {topic}")


def _repartition(nemesis: Nemesis, topic: str, expected: int, answer: str) -> None:
    """Run it, again while it may only wait; it is a finding if the code or the words are others."""
    stream, _ = stream_and_mrf(topic)
    command = ("crmbot-producer", "repartition", "--stream", stream)
    answers: list[tuple[int, str]] = []

    def is_answered() -> bool:
        code, words = nemesis.world.crew.try_to_run(nemesis.world.operator(topic), *command)
        answers.append((code, words))
        return expected != 0 or "not everything is loaded yet" not in words

    nemesis.wait_until(is_answered, f"repartition of {topic} succeeds or refuses")
    code, words = answers[-1]
    if code != expected or not re.search(answer, words):
        nemesis.world.find(
            f"{topic} was spread before everything was loaded, or not as it should: {code}, {words}"
        )


def _waiting(nemesis: Nemesis, topic: str) -> list[Spot]:
    """Return the messages that are not loaded, in the order of partitions and offsets."""
    ends = nemesis.world.warehouse.ledger_ends(topic)
    messages = committed_messages(topic, nemesis.world.kafka.bootstrap_servers)
    return sorted(spot for spot in messages if spot[1] >= ends.get(spot[0], (0, 0))[1])
