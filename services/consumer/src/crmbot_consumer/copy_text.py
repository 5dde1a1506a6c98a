"""Formats rows for COPY … WITH (FORMAT text, NULL '')."""

from collections.abc import Sequence

from crmbot_core.contracts import Stream
from crmbot_core.contracts.batch import Row


def copy_columns(stream: Stream) -> tuple[str, ...]:
    """Return the columns that `copy_text` writes: the contract's, then the message's offset."""
    return (*stream.column_names, "kafka_offset")


def copy_text(rows: Sequence[Row], offsets: Sequence[int]) -> bytes:
    """Return one line for each row."""
    return b"".join([b"\t".join((*row, b"%d\n" % offset)) for row, offset in zip(rows, offsets, strict=True)])
