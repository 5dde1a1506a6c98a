"""The number of partitions comes from the source offsets, and from the topic if nothing was sent."""

import pytest

from crmbot_core.errors import ConfigurationError
from crmbot_producer.partitions import check_topic, partitions_in_use, partitions_of, sent_offsets
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite import Identity

OLD, NEW = Identity("old", 0, 100), Identity("new", 100, 2**63 - 1)
SENT_OLD, SENT_NEW = SourceOffset("old", 100, "event-100", 3), SourceOffset("new", 150, "event-150", 3)


def test_crc32_of_the_key_determines_the_partition() -> None:
    assert partitions_of([b"123456789", b"", b"123456789"], 1000) == [0xCBF43926 % 1000, 0, 0xCBF43926 % 1000]


@pytest.mark.parametrize(
    ("known", "sent"),
    [
        pytest.param([], [], id="nothing sent"),
        pytest.param([SENT_OLD], [SENT_OLD], id="restored, nothing sent since"),
        pytest.param([SENT_NEW, SENT_OLD], [SENT_OLD, SENT_NEW], id="both"),
        pytest.param([SourceOffset("another file", 7, "e", 9)], [], id="another file"),
    ],
)
def test_only_the_files_own_source_offsets_count(known: list[SourceOffset], sent: list[SourceOffset]) -> None:
    assert sent_offsets([OLD, NEW], {w.source_id: w for w in known}) == sent


@pytest.mark.parametrize(
    ("sent", "partitions"),
    [
        pytest.param([], 6, id="nothing sent"),
        pytest.param([SENT_OLD], 3, id="old identity only"),
        pytest.param([SourceOffset("old", 100, "e", 2), SENT_NEW], 3, id="the newest decides"),
        pytest.param([SourceOffset("old", 100, "e")], 6, id="not recorded"),
        pytest.param([SENT_OLD, SourceOffset("new", 100, None)], 3, id="nothing sent of the newest"),
    ],
)
def test_the_topics_number_is_used_if_none_is_recorded(sent: list[SourceOffset], partitions: int) -> None:
    assert partitions_in_use(sent, found=6) == partitions


def test_a_topic_with_fewer_partitions_is_refused() -> None:
    check_topic("topic", partitions=3, found=3)
    check_topic("topic", partitions=3, found=6)
    with pytest.raises(ConfigurationError, match=r"has 2 partitions.*go to 3.*PARTITIONS=3 crmbot-producer"):
        check_topic("topic", partitions=3, found=2)
