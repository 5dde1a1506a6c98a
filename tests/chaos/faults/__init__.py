"""All faults."""

import random

from tests.chaos.disk import can_mount
from tests.chaos.faults import (
    disks,
    files,
    identities,
    logs,
    network,
    processes,
    rebalances,
    rows,
    topics,
    transactions,
)
from tests.chaos.nemesis import Fault

FAULTS: list[Fault] = [
    processes.kill_producers,
    processes.kill_consumers,
    processes.kill_a_bot,
    processes.kill_the_broker,
    processes.kill_the_warehouse,
    processes.kill_everything_at_once,
    processes.freeze_a_consumer_in_mid_load_until_its_partitions_are_reassigned,
    processes.kill_a_consumer_in_mid_load,
    processes.shut_down_a_consumer_in_mid_load,
    processes.shut_down_a_producer_in_mid_page,
    processes.freeze_a_producer,
    processes.run_a_second_producer,
    processes.freeze_the_warehouse,
    processes.scale_consumers_to_zero_and_beyond_the_partitions,
    processes.restart_everything_in_turn,
    rebalances.rebalance_during_slow_loads,
    transactions.restart_producers_while_a_transaction_is_open,
    transactions.freeze_producers_in_mid_page,
    network.kill_producers_on_a_slow_network,
    network.kill_consumers_on_a_slow_network,
    network.disconnect_one_consumer_from_the_broker,
    network.disconnect_one_consumer_from_the_warehouse,
    network.disconnect_everyone_from_the_broker,
    network.slow_the_network_down,
    disks.fill_the_warehouses_disk,
    disks.fill_the_workbooks_disk,
    files.lock_a_bots_file,
    files.checkpoint_and_vacuum_a_bots_file,
    files.restore_a_bots_file_from_an_older_copy,
    files.restore_a_bots_file_twice,
    files.restore_a_bots_file_from_a_copy_without_rows,
    files.replace_a_bots_file_with_a_new_one,
    identities.replace_a_bots_file_with_one_that_has_two_identities,
    files.truncate_a_bots_file,
    topics.send_foreign_messages,
    rows.insert_invalid_rows_into_a_bots_file,
    rows.repair_rejects,
    topics.let_retention_overtake_the_consumers,
    topics.set_compaction,
    topics.add_partitions_to_a_topic,
    logs.lose_the_state_topic,
    logs.recreate_a_topic,
    logs.restore_a_topics_log_from_an_older_copy,
]


def draw(number: int, rng: random.Random) -> list[Fault]:
    """Return `number` faults that can run on this machine in random order, each once before any twice."""
    possible = FAULTS if can_mount() else [fault for fault in FAULTS if fault.__module__ != disks.__name__]
    sequence: list[Fault] = []
    while len(sequence) < number:
        sequence += rng.sample(possible, len(possible))
    return sequence[:number]
