"""Which messages of a topic show that a row of the file was sent."""

import pytest

from crmbot_producer.source_offset import SentRow
from crmbot_producer.sqlite import Identity
from crmbot_producer.tail import SentMessage, sent_row

IDENTITIES = {"old": Identity("old", 0, 20, lost_up_to=30), "new": Identity("new", 20, 2**63 - 1)}
EVENTS = {20: "event-20", 25: "event-25", 30: "event-30"}


@pytest.mark.parametrize(
    ("source_id", "row", "is_sent"),
    [
        pytest.param("old", SentRow(20, "event-20"), True, id="last row of its identity"),
        pytest.param("new", SentRow(25, "event-25"), True, id="present identity"),
        pytest.param("old", SentRow(25, "event-25"), False, id="the row now belongs to another identity"),
        pytest.param("new", SentRow(20, "event-20"), False, id="row of the identity before"),
        pytest.param("new", SentRow(25, "event-x"), False, id="another event"),
        pytest.param("new", SentRow(26, "event-26"), False, id="no such row"),
        pytest.param("former", SentRow(25, "event-25"), False, id="a former file's"),
        pytest.param("new", None, False, id="a stub"),
    ],
)
def test_a_message_of_a_row_that_the_file_has_was_sent(
    source_id: str, row: SentRow | None, is_sent: bool
) -> None:
    assert sent_row(SentMessage(0, source_id, row), IDENTITIES, EVENTS.get) == (row if is_sent else None)
