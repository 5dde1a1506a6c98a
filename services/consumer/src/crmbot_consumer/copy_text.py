"""Formats rows for COPY … WITH (FORMAT text, NULL '')."""

from collections.abc import Sequence

from crmbot_core.contracts import Stream
from crmbot_core.contracts.batch import Row


def copy_columns(stream: Stream) -> tuple[str, ...]:
    """Return the columns that `copy_text` writes: the contract's, then where the message was."""
    return (*stream.column_names, "kafka_partition", "kafka_offset")


def copy_text(rows: Sequence[Row], partition: int, offsets: Sequence[int]) -> bytes:
    """Return one line for each row."""
    place = b"%d\t%%d\n" % partition
    return b"".join([b"\t".join((*row, place % offset)) for row, offset in zip(rows, offsets, strict=True)])
