"""Kafka's logs are lost: a topic recreated, the producers' state gone, a disk restored from an older copy."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from devstack.services import Service
from tests.chaos import bot_file
from tests.chaos.dump import messages_after, partition_folders
from tests.chaos.faults.topics import stop_services, wait_for_backlog
from tests.chaos.messages import committed_messages
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_call import ADOPTED, GAP, RECORDS_LOST, RECREATED, SHORTER, STATE_LOST, on_call
from tests.chaos.world import World

_STATE_TOPIC = "crm_bot_producer_state"
_BACKLOG_MESSAGES = 40
_SETTLE_SECONDS = 3.0
_FOREVER = 2**63
# Errors of clients when a topic is missing or a log was truncated; after a restart they name the command.
_NO_TOPIC = ("there is no topic", "Unknown topic or partition", "topic or partition")
_CUT_SHORT = ("Kafka no longer has the next message", "the Kafka client failed")


def lose_the_state_topic(nemesis: Nemesis) -> None:
    """The producers' records are lost, while producers run or before they start.

    A producer that keeps running writes only the record of its present identity; it detects the loss of the
    former ones when it starts again.
    """
    world = nemesis.world
    producers = world.services["producer"] if nemesis.rng.random() < 0.5 else []
    with on_call(nemesis, world.topics, STATE_LOST, RECORDS_LOST, *_NO_TOPIC) as operator:
        stop_services(nemesis, producers)
        _delete(nemesis, _STATE_TOPIC)
        world.services.run(world.operator_environment(world.topics[0]), "crmbot-producer", "topics")
        for losses in world.losses.values():
            losses.resends += 1
        for service in producers:
            world.services.start_again(service)
        if producers:
            for topic in world.topics:
                operator.wait_for(topic, STATE_LOST)
        else:
            nemesis.wait(2.0, 4.0)
            for service in world.services["producer"]:
                world.services.restart(service)
            nemesis.wait(2.0, 4.0)
        operator.recover("resend")
    _drop_copies_of_former_bots(world)


def recreate_a_topic(nemesis: Nemesis) -> None:
    """Messages that were not loaded are lost with it; the producer keeps sending."""
    world, topic = nemesis.world, nemesis.topic()
    consumers: Sequence[Service] = []
    if nemesis.rng.random() < 0.7:
        consumers = stop_services(nemesis, world.consumers(topic))
        wait_for_backlog(nemesis, topic, _BACKLOG_MESSAGES)
    with on_call(nemesis, [topic], RECREATED, ADOPTED, GAP, SHORTER, *_CUT_SHORT, *_NO_TOPIC) as operator:
        messages = committed_messages(topic, world.kafka.bootstrap_servers)
        _delete(nemesis, topic)
        nemesis.wait(_SETTLE_SECONDS, _SETTLE_SECONDS)
        folders = _deleted_folders(world, topic)
        ends = {p: (epoch, _FOREVER) for p, (epoch, _) in world.warehouse.ledger_ends(topic).items()}
        world.losses[topic].rewrite(messages | messages_after(messages, folders), ends)
        world.services.run(world.operator_environment(topic), "crmbot-producer", "topics")
        for service in consumers:
            world.services.start_again(service)
        operator.wait_for(topic, RECREATED)
        operator.recover("adopt-topic, resend")


def restore_a_topics_log_from_an_older_copy(nemesis: Nemesis) -> None:
    """Restore the topic's log from an older copy, with or without the producers' state, consumers up or down.

    If they are down until the producer has refilled the log beyond the ledger, offsets do not show the loss.
    """
    world, topic, rng = nemesis.world, nemesis.topic(), nemesis.rng
    is_with_state, are_consumers_down, is_refilled = (rng.random() < 0.5 for _ in range(3))
    copies = _copy_logs(nemesis, [topic, _STATE_TOPIC] if is_with_state else [topic])
    before = world.warehouse.ledger_ends(topic)
    nemesis.wait_until(
        lambda: all(end > before[p] for p, end in world.warehouse.ledger_ends(topic).items() if p in before),
        f"{topic} goes beyond the copy of its log",
    )
    consumers = stop_services(nemesis, world.consumers(topic)) if are_consumers_down else []
    others = [other for other in world.topics if other != topic and is_with_state]
    world.history.add(
        "restoring", topic=topic, state=is_with_state, consumers_down=are_consumers_down, refilled=is_refilled
    )
    with (
        on_call(nemesis, others, RECORDS_LOST, *_CUT_SHORT) as operator_of_others,
        on_call(nemesis, [topic], GAP, SHORTER, ADOPTED, *_CUT_SHORT) as operator,
    ):
        messages = committed_messages(topic, world.kafka.bootstrap_servers)
        world.kafka.kill()
        nemesis.wait(_SETTLE_SECONDS, _SETTLE_SECONDS)
        messages |= messages_after(messages, partition_folders(_data(world), topic))
        ends = world.warehouse.ledger_ends(topic)
        world.losses[topic].rewrite(messages, ends)
        for folder, copy in copies.items():
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)
        if is_with_state:
            for losses in world.losses.values():
                losses.resends += 1
        world.kafka.start()
        if are_consumers_down and is_refilled:
            _wait_for_refill(nemesis, topic, {p: end for p, (_, end) in ends.items()})
        for service in consumers:
            world.services.start_again(service)
        nemesis.wait(3.0, 5.0)
        operator.recover("adopt-topic, resend")
        operator_of_others.recover("resend")


def _copy_logs(nemesis: Nemesis, topics: list[str]) -> dict[Path, Path]:
    """Copy the partitions' folders while no transaction is open; return the copies' paths by folder."""
    world = nemesis.world
    producers = stop_services(nemesis, world.services["producer"])
    shutil.rmtree(target := world.folder / "older-logs", ignore_errors=True)
    copies = {
        folder: target / folder.name
        for topic in topics
        for folder in partition_folders(_data(world), topic).values()
    }
    for folder, copy in copies.items():
        shutil.copytree(folder, copy)
    for producer in producers:
        world.services.start_again(producer)
    return copies


def _wait_for_refill(nemesis: Nemesis, topic: str, ends: dict[int, int]) -> None:
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
    """Return the folders of a deleted topic's partitions, which the broker keeps for another minute."""
    folders = sorted(_data(world).glob(f"{topic}-*-delete"), key=lambda folder: folder.stat().st_mtime)
    return {int(folder.name.removeprefix(f"{topic}-").split(".")[0]): folder for folder in folders}


def _data(world: World) -> Path:
    return world.kafka.directory / "data"


def _drop_copies_of_former_bots(world: World) -> None:
    """Files of former bots have no records any more, so restoring them would go undetected."""
    for topic, copies in world.copies.items():
        known = {source.source_id for source in bot_file.sources(world.file(topic))}
        copies[:] = [copy for copy in copies if bot_file.sources(copy)[-1].source_id in known]
