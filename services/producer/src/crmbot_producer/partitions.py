"""Assigns rows to partitions.

The number of partitions in use is part of the producer's state, so that adding partitions to the topic does
not move leads: docs/decisions/0009-partitions-are-state.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from crmbot_core.errors import ConfigurationError
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite import Identity


def partitions_of(keys: Iterable[bytes], partitions: int) -> list[int]:
    """Return the partition of each key, like librdkafka's partitioner "consistent"."""
    return [crc32(key) % partitions for key in keys]


def sent_offsets(identities: Sequence[Identity], known: Mapping[str, SourceOffset]) -> list[SourceOffset]:
    """Return the known source offsets of the file's identities, oldest first."""
    return [known[identity.source_id] for identity in identities if identity.source_id in known]


def partitions_in_use(sent: Sequence[SourceOffset], found: int) -> int:
    """Return the number of partitions that a file's rows are spread over.

    Args:
        sent: the source offsets of the file's identities, oldest first; all of a file share one number.
        found: the topic's number, used if nothing of the file was sent yet.
    """
    return next((offset.partitions for offset in reversed(sent) if offset.partitions), found)


def check_topic(topic: str, partitions: int, found: int) -> None:
    """Check that the topic has the partitions that the file's rows are spread over.

    Raises:
        ConfigurationError: it has fewer.
    """
    if found < partitions:
        raise ConfigurationError(
            f"topic {topic} has {found} partitions, but rows go to {partitions} of them: it was recreated. "
            f"Add the missing ones: PARTITIONS={partitions} crmbot-producer topics"
        )
