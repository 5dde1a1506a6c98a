"""Dead letters: listed, shown, put right and loaded once."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.integration.messages import SOURCE, action, send
from tests.integration.road import Road, wait_until
from tests.integration.test_consumer import loaded_ids, rejects, topic

REJECTS = ("crmbot-consumer", "rejects")
STREAM = ("--stream", "actions")
PLACE = ("0", "1")


def repaired(road: Road, message: dict[str, Any]) -> tuple[str, str]:
    file = road.folder / "repaired.json"
    file.write_bytes(json.dumps(message).encode())
    return "--file", str(file)


@pytest.fixture
def broken(road: Road) -> bytes:
    """A reject at partition 0 offset 1, of row 2 of three."""
    value = json.dumps(action(road.mrf, 2, potential_revenue="650")).encode()
    send(road.bootstrap, topic(road), [action(road.mrf, 1), value, action(road.mrf, 3)])
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [1, 3], "the good rows")
    return value


def test_rejects_are_listed_shown_and_replayed_once(road: Road, broken: bytes) -> None:
    assert "potential_revenue" in road.must(*REJECTS, "list", *STREAM, COLUMNS="200")
    assert road.must(*REJECTS, "show", *STREAM, *PLACE).encode() == broken
    refused = road.run(*REJECTS, "replay", *STREAM, *PLACE)
    assert (refused.returncode, "still breaks the contract" in refused.stderr) == (2, True)
    file = repaired(road, action(road.mrf, 2))
    road.must(*REJECTS, "replay", *STREAM, *PLACE, *file)
    assert road.query("SELECT event_id FROM {actions} WHERE transaction_id = 2") == [(UUID(int=2),)]
    twice = road.run(*REJECTS, "replay", *STREAM, *PLACE, *file)
    assert (twice.returncode, "replayed before" in twice.stderr) == (2, True)
    assert sorted(loaded_ids(road)) == [1, 2, 3]


@pytest.mark.usefixtures("broken")
def test_a_reject_is_not_replayed_as_another_row(road: Road) -> None:
    another = road.run(*REJECTS, "replay", *STREAM, *PLACE, *repaired(road, action(road.mrf, 4)))
    assert (another.returncode, "keep source_id, transaction_id" in another.stderr) == (2, True)
    assert loaded_ids(road) == [1, 3]


def test_a_message_of_somebody_else_s_is_not_replayed(road: Road) -> None:
    forged = action(road.mrf, 2**62, previous_id=5)
    send(road.bootstrap, topic(road), [action(road.mrf, 1), forged, action(road.mrf, 2)])
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [1, 2], "the good rows")
    refused = road.run(*REJECTS, "replay", *STREAM, *PLACE)
    assert (refused.returncode, "is not the bot's" in refused.stderr) == (2, True)


def test_a_copy_in_an_accepted_gap_is_not_replayed_for_resend_brings_the_row(road: Road) -> None:
    send(road.bootstrap, topic(road), [action(road.mrf, 1), action(road.mrf, 5)])
    assert road.consume("actions").exit_code() == 3
    gap = ("--source-id", SOURCE, "--after-id", "1", "--up-to-id", "4")
    road.must("crmbot-consumer", "accept-loss", *STREAM, "--partition", "0", *gap)
    road.consume("actions")
    wait_until(lambda: loaded_ids(road) == [1, 5], "the rows behind the gap")
    send(road.bootstrap, topic(road), [action(road.mrf, 3)])
    wait_until(lambda: len(rejects(road)) == 1, "a copy from the middle of the gap")
    refused = road.run(*REJECTS, "replay", *STREAM, "0", "2")
    assert (refused.returncode, "lies in a gap that was accepted" in refused.stderr) == (2, True)


def test_of_two_rejects_of_an_event_only_one_is_replayed(road: Road) -> None:
    """Both are replayed at once: there is no telling which comes first, but one must be refused."""
    bad = [action(road.mrf, 2, potential_revenue=value) for value in ("1", "2")]
    send(road.bootstrap, topic(road), [action(road.mrf, 1), *bad])
    road.consume("actions")
    wait_until(lambda: len(rejects(road)) == 2, "both are rejected")
    file = repaired(road, action(road.mrf, 2))
    both = [road.start(*REJECTS, "replay", *STREAM, "0", offset, *file) for offset in ("1", "2")]
    assert sorted(service.exit_code() for service in both) == [0, 2]
    assert sorted(loaded_ids(road)) == [1, 2]


def test_a_reason_with_brackets_is_listed_as_it_is(road: Road, tmp_path: Path) -> None:
    road.query(
        "INSERT INTO crm_bot_rejects (topic, kafka_partition, log_epoch, kafka_offset, reason, is_link) "
        "VALUES (%s, 0, 0, 0, '[/x] [red]', false)",
        topic(road),
    )
    assert "[/x] [red]" in road.must(*REJECTS, "list", *STREAM, COLUMNS="200")
