"""Kafka's logs are lost: a topic recreated, the producers' state gone, a disk restored from an older copy."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import bot_file
from tests.chaos.dump import messages_behind, partition_folders
from tests.chaos.faults.topics import retired, wait_for_messages
from tests.chaos.messages import committed_messages
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_call import GAP, RECORDS_LOST, RECREATED, SHORTER, STATE_LOST, on_call
from tests.chaos.services import Member
from tests.chaos.world import World

_STATE_TOPIC = "crm_bot_producer_state"
_WAITING_MESSAGES = 40
_SETTLE_SECONDS = 3.0
_FOREVER = 2**63
# What clients say when a topic is gone, or a log shorter than it was; after a restart they say what to do.
_NO_TOPIC = ("there is no topic", "Unknown topic or partition", "topic or partition")
_CUT_SHORT = ("Kafka no longer has the next message", "the Kafka client failed")


def lose_the_state_topic(nemesis: Nemesis) -> None:
    """The producers' records are gone; they may run meanwhile, or be started later."""
    world = nemesis.world
    producers = world.crew["producer"] if nemesis.rng.random() < 0.5 else []
    with on_call(nemesis, world.topics, STATE_LOST, *_NO_TOPIC) as operator:
        retired(nemesis, producers)
        _delete(nemesis, _STATE_TOPIC)
        world.crew.run(world.operator(world.topics[0]), "crmbot-producer", "topics")
        for losses in world.losses.values():
            losses.sent_again += 1
        for member in producers:
            world.crew.rehire(member)
        if producers:
            for topic in world.topics:
                operator.wait_for(topic, STATE_LOST)
        else:
            nemesis.wait(2.0, 4.0)
        operator.heal("resend")
    _forget_copies(world)


def recreate_a_topic(nemesis: Nemesis) -> None:
    """Messages that were not loaded go with it; the producer never stops sending."""
    world, topic = nemesis.world, nemesis.topic()
    consumers: Sequence[Member] = []
    if nemesis.rng.random() < 0.7:
        consumers = retired(nemesis, world.consumers(topic))
        wait_for_messages(nemesis, topic, _WAITING_MESSAGES)
    with on_call(nemesis, [topic], RECREATED, GAP, SHORTER, *_CUT_SHORT, *_NO_TOPIC) as operator:
        messages = committed_messages(topic, world.kafka.bootstrap_servers)
        _delete(nemesis, topic)
        nemesis.wait(_SETTLE_SECONDS, _SETTLE_SECONDS)
        folders = _deleted_folders(world, topic)
        ends = {p: (epoch, _FOREVER) for p, (epoch, _) in world.warehouse.ledger_ends(topic).items()}
        world.losses[topic].rewrite(messages | messages_behind(messages, folders), ends)
        world.crew.run(world.operator(topic), "crmbot-producer", "topics")
        for member in consumers:
            world.crew.rehire(member)
        operator.wait_for(topic, RECREATED)
        operator.heal("adopt-topic, resend")


def restore_a_topics_log_from_an_older_copy(nemesis: Nemesis) -> None:
    """The broker's disk goes back in time, perhaps with the producers' state, perhaps unseen by consumers.

    Where they are down until the producer has filled the log beyond what was loaded, offsets tell nothing.
    """
    world, topic, rng = nemesis.world, nemesis.topic(), nemesis.rng
    is_with_state, are_consumers_down, is_refilled = (rng.random() < 0.5 for _ in range(3))
    copies = _copied_logs(nemesis, [topic, _STATE_TOPIC] if is_with_state else [topic])
    before = world.warehouse.ledger_ends(topic)
    nemesis.wait_until(
        lambda: all(end > before[p] for p, end in world.warehouse.ledger_ends(topic).items() if p in before),
        f"{topic} goes beyond the copy of its log",
    )
    consumers = retired(nemesis, world.consumers(topic)) if are_consumers_down else []
    others = [other for other in world.topics if other != topic and is_with_state]
    world.history.add(
        "restoring", topic=topic, state=is_with_state, consumers_down=are_consumers_down, refilled=is_refilled
    )
    with (
        on_call(nemesis, others, RECORDS_LOST, *_CUT_SHORT) as operator_of_others,
        on_call(nemesis, [topic], GAP, SHORTER, *_CUT_SHORT) as operator,
    ):
        messages = committed_messages(topic, world.kafka.bootstrap_servers)
        world.kafka.kill()
        nemesis.wait(_SETTLE_SECONDS, _SETTLE_SECONDS)
        messages |= messages_behind(messages, partition_folders(_data(world), topic))
        ends = world.warehouse.ledger_ends(topic)
        world.losses[topic].rewrite(messages, ends)
        for folder, copy in copies.items():
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)
        if is_with_state:
            for losses in world.losses.values():
                losses.sent_again += 1
        world.kafka.start()
        if are_consumers_down and is_refilled:
            _await_refill(nemesis, topic, {p: end for p, (_, end) in ends.items()})
        for member in consumers:
            world.crew.rehire(member)
        nemesis.wait(3.0, 5.0)
        operator.heal("adopt-topic, resend")
        operator_of_others.heal("resend")


def _copied_logs(nemesis: Nemesis, topics: list[str]) -> dict[Path, Path]:
    """Copy the partitions' folders while no transaction is open; return the copies by folder."""
    world = nemesis.world
    producers = retired(nemesis, world.crew["producer"])
    shutil.rmtree(target := world.folder / "older-logs", ignore_errors=True)
    copies = {
        folder: target / folder.name
        for topic in topics
        for folder in partition_folders(_data(world), topic).values()
    }
    for folder, copy in copies.items():
        shutil.copytree(folder, copy)
    for producer in producers:
        world.crew.rehire(producer)
    return copies


def _await_refill(nemesis: Nemesis, topic: str, ends: dict[int, int]) -> None:
    def is_refilled() -> bool:
        newest: dict[int, int] = {}
        for partition, offset in committed_messages(topic, nemesis.world.kafka.bootstrap_servers):
            newest[partition] = max(newest.get(partition, 0), offset)
        return all(newest.get(partition, 0) > end for partition, end in ends.items())

    nemesis.wait_until(is_refilled, f"the producer fills {topic} beyond what was loaded")


def _delete(nemesis: Nemesis, topic: str) -> None:
    for answer in nemesis.world.admin.delete_topics([topic]).values():
        answer.result(30)
    nemesis.wait_until(
        lambda: topic not in nemesis.world.admin.list_topics(timeout=30).topics, f"{topic} is gone"
    )


def _deleted_folders(world: World, topic: str) -> dict[int, Path]:
    """Return the folders of a deleted topic's partitions, which the broker keeps for a minute."""
    folders = sorted(_data(world).glob(f"{topic}-*-delete"), key=lambda folder: folder.stat().st_mtime)
    return {int(folder.name.removeprefix(f"{topic}-").split(".")[0]): folder for folder in folders}


def _data(world: World) -> Path:
    return world.kafka.directory / "data"


def _forget_copies(world: World) -> None:
    """Files of former bots have no record any more, so nobody would notice that they are restored."""
    for topic, copies in world.copies.items():
        known = {source.source_id for source in bot_file.sources(world.file(topic))}
        copies[:] = [copy for copy in copies if bot_file.sources(copy)[-1].source_id in known]
