"""Long-running transactions: a producer's page, and a foreign one on the producers' state topic."""

import signal

from confluent_kafka import Producer

from tests.chaos.nemesis import Nemesis

_STATE_TOPIC = "crm_bot_producer_state"
_TIMEOUT_SECONDS = 30.0
# Longer than a tenth of STUCK_MINUTES, after which an idle consumer advances its ledger.
_FREEZE_SECONDS = (8.0, 12.0)
# Enough for a restarted producer to send, if it did not wait until it can read all of its records.
_RESTART_SECONDS = (12.0, 16.0)


def restart_producers_while_a_transaction_is_open(nemesis: Nemesis) -> None:
    """Records that the producers commit meanwhile lie beyond the last stable offset of their state topic."""
    world = nemesis.world
    foreign = Producer({"bootstrap.servers": world.kafka.bootstrap_servers, "transactional.id": "foreign"})
    foreign.init_transactions(_TIMEOUT_SECONDS)
    foreign.begin_transaction()
    foreign.produce(_STATE_TOPIC, b"uncommitted", b"foreign")
    foreign.flush(_TIMEOUT_SECONDS)
    nemesis.wait(2.0, 4.0)
    for service in world.services["producer"]:
        service.send(signal.SIGKILL)
    nemesis.wait(*_RESTART_SECONDS)
    foreign.abort_transaction(_TIMEOUT_SECONDS)


def freeze_producers_in_mid_page(nemesis: Nemesis) -> None:
    """A slow network prolongs the sending of a page, so that most producers have an open transaction."""
    world = nemesis.world
    producers = world.services["producer"]
    with world.to_kafka.slowed():
        nemesis.wait(0.5, 2.0)
        for service in producers:
            service.send(signal.SIGSTOP)
    nemesis.wait(*_FREEZE_SECONDS)
    for service in producers:
        service.send(signal.SIGCONT)
