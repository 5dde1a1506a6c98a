"""Where a partition resumes, and when it must not."""

import pytest

from crmbot_consumer.position import checked_position
from crmbot_core.errors import StoppedError
from crmbot_core.ledger import Position

LEDGER = Position("topic-a", 100, {"source": 40})


@pytest.mark.parametrize(
    ("ledger", "topic_id", "earliest", "latest", "expected"),
    [
        pytest.param(None, "topic-a", 0, 0, Position("topic-a", 0), id="a new topic starts at 0"),
        pytest.param(None, "topic-a", 0, 500, Position("topic-a", 0), id="a backlog from 0"),
        pytest.param(LEDGER, "topic-a", 0, 500, LEDGER, id="after the last batch"),
        pytest.param(LEDGER, "topic-a", 100, 100, LEDGER, id="all loaded and deleted"),
    ],
)
def test_resumes_where_the_ledger_ends(
    ledger: Position | None, topic_id: str, earliest: int, latest: int, expected: Position
) -> None:
    assert checked_position("crm_bot_actions_mrf1", 0, ledger, topic_id, earliest, latest) == expected


@pytest.mark.parametrize(
    ("ledger", "topic_id", "earliest", "latest", "words"),
    [
        pytest.param(
            None, "topic-a", 1, 500, "accept-loss --stream actions --partition 0", id="first messages deleted"
        ),
        pytest.param(
            LEDGER,
            "topic-a",
            101,
            500,
            "accept-loss --stream actions --partition 0",
            id="next message deleted",
        ),
        pytest.param(LEDGER, "topic-b", 0, 500, "deleted and recreated", id="another topic of the same name"),
        pytest.param(LEDGER, "topic-a", 0, 99, "lost its newest messages", id="Kafka is behind the ledger"),
    ],
)
def test_stops_instead_of_skipping(
    ledger: Position | None, topic_id: str, earliest: int, latest: int, words: str
) -> None:
    with pytest.raises(StoppedError, match=words):
        checked_position("crm_bot_actions_mrf1", 0, ledger, topic_id, earliest, latest)
