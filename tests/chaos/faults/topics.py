"""Faults of topics: foreign messages, retention, wrong settings, added partitions."""

import re
from collections.abc import Sequence
from itertools import pairwise

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from devstack.services import Service
from tests.chaos import bot_file, foreign
from tests.chaos.faults.files import replace
from tests.chaos.faults.rows import repair_rejects
from tests.chaos.losses import Range
from tests.chaos.messages import Spot, committed_messages
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_call import GAP, OVERTAKEN, on_call
from tests.chaos.world import stream_and_mrf

__all__ = [
    "add_partitions_to_a_topic",
    "let_retention_overtake_the_consumers",
    "repair_rejects",
    "send_foreign_messages",
    "set_compaction",
]

_BACKLOG_MESSAGES = 40
_COMPACTED = "cleanup.policy is compact"


def send_foreign_messages(nemesis: Nemesis) -> None:
    """A forged message that follows a row nobody has sent looks like a loss, until the next row arrives."""
    topic = nemesis.topic()
    with on_call(nemesis, [topic], GAP) as operator:
        foreign.send(nemesis.world, topic, nemesis.rng)
        operator.wait_until_processed("foreign messages")


def let_retention_overtake_the_consumers(nemesis: Nemesis) -> None:
    """Consumers must stop and report the loss; then the operator has the rows sent again from the bot's file.

    If the file has been replaced meanwhile, the rows can only be accepted as lost.
    """
    world, topic = nemesis.world, nemesis.topic()
    consumers = stop_services(nemesis, world.consumers(topic))
    wait_for_backlog(nemesis, topic, _BACKLOG_MESSAGES)
    # At least one message is lost: the end is not the first message of its partition's backlog.
    candidates = [after for before, after in pairwise(_backlog(nemesis, topic)) if before[0] == after[0]]
    partition, end = nemesis.rng.choice(candidates)
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
        for service in consumers:
            world.services.start_again(service)
        operator.wait_for(topic, OVERTAKEN)
        operator.recover("accept-loss, resend")


def set_compaction(nemesis: Nemesis) -> None:
    """Services must refuse such a topic at startup; `topics` corrects it."""
    world, topic = nemesis.world, nemesis.topic()
    entry = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for answer in world.admin.incremental_alter_configs([resource]).values():
        answer.result(30)
    with on_call(nemesis, [topic], _COMPACTED) as operator:
        for service in (world.producer(topic), *world.consumers(topic)):
            with world.services.expecting_exit(service.name, _COMPACTED) as has_stopped:
                world.services.restart(service)
                nemesis.wait_until(has_stopped.is_set, f"{service.name} refuses a compacted topic")
        operator.recover("topics")


def add_partitions_to_a_topic(nemesis: Nemesis) -> None:
    """Leads must keep their partitions until everything is loaded; then the operator repartitions."""
    world, topic = nemesis.world, nemesis.topic()
    _, mrf = stream_and_mrf(topic)
    # A new file of which nothing has been sent would be spread over all partitions at once.
    current = bot_file.sources(world.file(topic))[-1]
    nemesis.wait_until(
        lambda: world.warehouse.is_loaded(topic, current.source_id, current.starts_after + 1),
        f"rows of the current identity of {topic} are loaded",
    )
    number = world.partitions[mrf] = world.partitions[mrf] + 1
    world.services.run(world.operator_environment(topic), "crmbot-producer", "topics")
    consumers = stop_services(nemesis, world.consumers(topic))
    # Rows of the same leads, sent before and after the producer can see the new partition.
    wait_for_backlog(nemesis, topic, _BACKLOG_MESSAGES)
    producer = world.producer(topic)
    world.services.restart(producer)
    wait_for_backlog(nemesis, topic, 2 * _BACKLOG_MESSAGES)
    world.services.stop(producer)
    _repartition(nemesis, topic, 2, "not everything is loaded yet: .* nothing is changed")
    for service in consumers:
        world.services.start_again(service)
    _repartition(
        nemesis, topic, 0, f"new rows of .* go to {number} partitions, those before to [1-{number - 1}]$"
    )
    _repartition(nemesis, topic, 0, f"rows of .* go to all {number} partitions already$")
    world.services.start_again(producer)
    nemesis.wait_until(
        lambda: number - 1 in world.warehouse.ledger_ends(topic), f"rows of {topic} in its new partition"
    )


def stop_services(nemesis: Nemesis, services: Sequence[Service]) -> Sequence[Service]:
    """Stop services, and return them so that they can be started again."""
    for service in services:
        nemesis.world.services.stop(service)
    return services


def wait_for_backlog(nemesis: Nemesis, topic: str, number: int) -> None:
    nemesis.wait_until(lambda: len(_backlog(nemesis, topic)) >= number, f"{topic} has a backlog")


def _repartition(nemesis: Nemesis, topic: str, expected: int, answer: str) -> None:
    """Run it; if it should succeed, run it again until everything is loaded. Another answer is a finding."""
    stream, _ = stream_and_mrf(topic)
    command = ("crmbot-producer", "repartition", "--stream", stream)
    answers: list[tuple[int, str]] = []

    def is_answered() -> bool:
        code, line = nemesis.world.services.run_unchecked(nemesis.world.operator_environment(topic), *command)
        answers.append((code, line))
        return expected != 0 or "not everything is loaded yet" not in line

    nemesis.wait_until(is_answered, f"repartition of {topic} succeeds or refuses")
    code, line = answers[-1]
    if code != expected or not re.search(answer, line):
        nemesis.world.add_finding(
            f"{topic} was repartitioned before everything was loaded, or failed: code {code}, {line}"
        )


def _backlog(nemesis: Nemesis, topic: str) -> list[Spot]:
    """Return the messages that are not loaded, ordered by partition and offset."""
    ends = nemesis.world.warehouse.ledger_ends(topic)
    messages = committed_messages(topic, nemesis.world.kafka.bootstrap_servers)
    return sorted(spot for spot in messages if spot[1] >= ends.get(spot[0], (0, 0))[1])
