"""Dead letters: listed, shown, corrected and replayed once."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.integration.messages import SOURCE, action, send
from tests.integration.pipeline import Pipeline, wait_until
from tests.integration.test_consumer import loaded_ids, rejects, topic

REJECTS = ("crmbot-consumer", "rejects")
STREAM = ("--stream", "actions")
PLACE = ("0", "1")


def repaired(pipeline: Pipeline, message: dict[str, Any]) -> tuple[str, str]:
    file = pipeline.folder / "repaired.json"
    file.write_bytes(json.dumps(message).encode())
    return "--file", str(file)


@pytest.fixture
def broken(pipeline: Pipeline) -> bytes:
    """The second of three rows as a dead letter, at offset 1 of partition 0."""
    value = json.dumps(action(pipeline.mrf, 2, potential_revenue="650")).encode()
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1), value, action(pipeline.mrf, 3)])
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 3], "the good rows are loaded")
    return value


def test_rejects_are_listed_shown_and_replayed_once(pipeline: Pipeline, broken: bytes) -> None:
    assert "potential_revenue" in pipeline.check_output(*REJECTS, "list", *STREAM, COLUMNS="200")
    assert pipeline.check_output(*REJECTS, "show", *STREAM, *PLACE).encode() == broken
    refused = pipeline.run(*REJECTS, "replay", *STREAM, *PLACE)
    assert (refused.returncode, "still breaks the contract" in refused.stderr) == (2, True)
    file = repaired(pipeline, action(pipeline.mrf, 2))
    pipeline.check_output(*REJECTS, "replay", *STREAM, *PLACE, *file)
    assert pipeline.query("SELECT event_id FROM {actions} WHERE transaction_id = 2") == [(UUID(int=2),)]
    twice = pipeline.run(*REJECTS, "replay", *STREAM, *PLACE, *file)
    assert (twice.returncode, "replayed before" in twice.stderr) == (2, True)
    assert sorted(loaded_ids(pipeline)) == [1, 2, 3]


@pytest.mark.usefixtures("broken")
def test_a_reject_is_not_replayed_as_another_row(pipeline: Pipeline) -> None:
    another = pipeline.run(*REJECTS, "replay", *STREAM, *PLACE, *repaired(pipeline, action(pipeline.mrf, 4)))
    assert (another.returncode, "keep source_id, transaction_id" in another.stderr) == (2, True)
    assert loaded_ids(pipeline) == [1, 3]


def test_a_foreign_message_is_not_replayed(pipeline: Pipeline) -> None:
    forged = action(pipeline.mrf, 2**62, previous_id=5)
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1), forged, action(pipeline.mrf, 2)])
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 2], "the good rows are loaded")
    refused = pipeline.run(*REJECTS, "replay", *STREAM, *PLACE)
    assert (refused.returncode, "is not the bot's" in refused.stderr) == (2, True)


def test_a_copy_in_an_accepted_gap_is_not_replayed(pipeline: Pipeline) -> None:
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1), action(pipeline.mrf, 5)])
    assert pipeline.consume("actions").exit_code() == 3
    gap = ("--source-id", SOURCE, "--after-id", "1", "--up-to-id", "4")
    pipeline.check_output("crmbot-consumer", "accept-loss", *STREAM, "--partition", "0", *gap)
    pipeline.consume("actions")
    wait_until(lambda: loaded_ids(pipeline) == [1, 5], "the rows after the gap are loaded")
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 3)])
    wait_until(lambda: len(rejects(pipeline)) == 1, "a copy of a row in the gap is rejected")
    refused = pipeline.run(*REJECTS, "replay", *STREAM, "0", "2")
    assert (refused.returncode, "lies in a gap that was accepted" in refused.stderr) == (2, True)


def test_of_two_rejects_of_an_event_only_one_is_replayed(pipeline: Pipeline) -> None:
    """Both are replayed concurrently: either may be first, the other must be refused."""
    bad = [action(pipeline.mrf, 2, potential_revenue=value) for value in ("1", "2")]
    send(pipeline.bootstrap, topic(pipeline), [action(pipeline.mrf, 1), *bad])
    pipeline.consume("actions")
    wait_until(lambda: len(rejects(pipeline)) == 2, "both messages are rejected")
    file = repaired(pipeline, action(pipeline.mrf, 2))
    both = [pipeline.start(*REJECTS, "replay", *STREAM, "0", offset, *file) for offset in ("1", "2")]
    assert sorted(service.exit_code() for service in both) == [0, 2]
    assert sorted(loaded_ids(pipeline)) == [1, 2]


def test_a_reason_with_markup_is_listed_verbatim(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.query(
        "INSERT INTO crm_bot_rejects (topic, kafka_partition, log_epoch, kafka_offset, reason, is_link) "
        "VALUES (%s, 0, 0, 0, '[/x] [red]', false)",
        topic(pipeline),
    )
    assert "[/x] [red]" in pipeline.check_output(*REJECTS, "list", *STREAM, COLUMNS="200")
