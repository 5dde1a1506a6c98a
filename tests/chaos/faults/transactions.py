"""Transactions that stay open for long: a page half sent, a stranger's on the producers' state topic."""

import signal

from confluent_kafka import Producer

from tests.chaos.nemesis import Nemesis

_STATE_TOPIC = "crm_bot_producer_state"
_TIMEOUT_SECONDS = 30.0
# Longer than a tenth of STUCK_MINUTES, after which an idle consumer moves its ledger.
_LONG_SECONDS = (8.0, 12.0)
# In which a producer starts again and would send, if it did not wait for the end of its records.
_RESTART_SECONDS = (12.0, 16.0)


def restart_producers_while_a_transaction_is_open(nemesis: Nemesis) -> None:
    """What the producers commit meanwhile lies behind the stable end of their state topic."""
    world = nemesis.world
    stranger = Producer(
        {"bootstrap.servers": world.kafka.bootstrap_servers, "transactional.id": "a stranger's"}
    )
    stranger.init_transactions(_TIMEOUT_SECONDS)
    stranger.begin_transaction()
    stranger.produce(_STATE_TOPIC, b"half done", b"a stranger's")
    stranger.flush(_TIMEOUT_SECONDS)
    nemesis.wait(2.0, 4.0)
    for member in world.crew["producer"]:
        member.send(signal.SIGKILL)
    nemesis.wait(*_RESTART_SECONDS)
    stranger.abort_transaction(_TIMEOUT_SECONDS)


def freeze_producers_in_mid_page(nemesis: Nemesis) -> None:
    """On a slow network a page takes long to send, so that most are frozen with an open transaction."""
    world = nemesis.world
    producers = world.crew["producer"]
    with world.to_kafka.slowed():
        nemesis.wait(0.5, 2.0)
        for member in producers:
            member.send(signal.SIGSTOP)
    nemesis.wait(*_LONG_SECONDS)
    for member in producers:
        member.send(signal.SIGCONT)
