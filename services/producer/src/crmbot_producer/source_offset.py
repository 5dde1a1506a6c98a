"""The source offset: how far a bot's file has been sent, and whether the file is still the same one."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crmbot_core.errors import StoppedError
from crmbot_producer.sqlite import Identity

_BIGGEST = 2**63 - 1


@dataclass(frozen=True)
class SourceOffset:
    """A record of the state topic: the newest row of one identity of a file that is in Kafka.

    Attributes:
        source_id: the identity.
        transaction_id: of the newest row; where nothing was sent, of the row after which the identity starts.
        event_id: of the newest row, as `sqlite_page.event_name` gives it; None where nothing was sent.
        partitions: how many partitions rows are spread over; None means as many as the topic has.
        last_ids: the end of the source's chain by partition, the last row that was sent to it.
        sent_up_to: set by new-source, which closes an identity at `transaction_id`: the newest row that had
            been sent by then.
    """

    source_id: str
    transaction_id: int
    event_id: str | None
    partitions: int | None = None
    last_ids: Mapping[int, int] = field(default_factory=dict)
    sent_up_to: int | None = None

    def encode(self) -> bytes:
        """Return the record's value."""
        record = {
            "transaction_id": self.transaction_id,
            "event_id": self.event_id,
            "partitions": self.partitions,
            "last_ids": self.last_ids,
            "sent_up_to": self.sent_up_to,
        }
        # In ASCII, so that an event_id that is not UTF-8 passes.
        return json.dumps(record, default=dict).encode("ascii")

    @staticmethod
    def decode(source_id: str, value: bytes) -> "SourceOffset":
        """Read a record's value; raise ValueError if it is no source offset."""
        try:
            record = json.loads(value)
            event_id = record["event_id"]
            if not isinstance(event_id, str | None):
                raise TypeError(f"event_id: {type(event_id).__name__}")
            return SourceOffset(
                source_id,
                _number(record["transaction_id"]),
                event_id,
                _number_or_none(record["partitions"], least=1),
                {
                    _number(int(partition)): _number(last_id)
                    for partition, last_id in record["last_ids"].items()
                },
                _number_or_none(record["sent_up_to"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a source offset: {error!r}") from error


def state_key(mrf: str, stream: str, source_id: str) -> bytes:
    """Return the key of an identity's record."""
    return f"{mrf}|{stream}|{source_id}".encode()


def nothing_sent(identity: Identity) -> SourceOffset:
    """Return the source offset of an identity of which nothing was sent."""
    return SourceOffset(identity.source_id, identity.starts_after, None)


def decoded(
    records: Mapping[bytes, bytes], mrf: str, stream: str, needed: Collection[str] = ()
) -> dict[str, SourceOffset]:
    """Return the source offsets of one MRF and stream, by source_id.

    Records under other keys are another producer's, or nobody's, and ignored; so are those that cannot be
    decoded.

    Raises:
        StoppedError: the record of a source that is `needed` cannot be decoded.
    """
    prefix = state_key(mrf, stream, "")
    found = {}
    for key, value in records.items():
        if not key.startswith(prefix):
            continue
        try:
            source_id = key.removeprefix(prefix).decode()
        except UnicodeDecodeError:
            continue
        try:
            found[source_id] = SourceOffset.decode(source_id, value)
        except ValueError as error:
            if source_id in needed:
                raise StoppedError(
                    f"the record of source {source_id} in Kafka cannot be decoded; rebuild it from the "
                    f"warehouse: crmbot-producer resend --stream {stream}"
                ) from error
    return found


def check_file(
    path: Path,
    stream: str,
    identity: Identity,
    offset: SourceOffset,
    *,
    is_present: bool,
    newest_id: int,
    event_id: str | None,
) -> None:
    """Check that a file's rows of one identity are those that were sent.

    Args:
        path: the file, for the message.
        stream: its stream, for the message.
        identity: one of the file's identities.
        offset: what has been sent of it.
        is_present: whether it is the file's newest identity.
        newest_id: the file's greatest transaction_id.
        event_id: that of the file's row with the offset's transaction_id, None if there is no such row.

    Raises:
        StoppedError: the file was replaced or restored.
    """
    row = offset.transaction_id
    # Later rows than the offset's were sent where some are to be sent again.
    newest_sent = max((row, *offset.last_ids.values())) if is_present else row
    if is_present and offset.sent_up_to is not None:
        problem = f"its source {identity.source_id} was closed at row {row}, and its next one is missing"
    elif newest_sent > newest_id:
        problem = f"row {newest_sent}, which was sent, is missing"
    elif offset.event_id is not None and event_id is None:
        problem = f"row {row}, which was sent, is missing"
    elif not identity.starts_after <= row <= identity.ends_at:
        problem = f"row {row} was sent as one of source {identity.source_id}, and belongs to another one now"
    elif offset.event_id not in (None, event_id):
        problem = f"row {row}, which was sent, is another one"
    else:
        return
    raise StoppedError(
        f"{path} was replaced or restored: {problem}. Put the right file back, or, if the bot has to go on "
        f"with this one, give it a new identity: crmbot-producer new-source --stream {stream}"
    )


def _number(value: Any, least: int = 0) -> int:  # noqa: ANN401  (any JSON)
    if type(value) is not int or not least <= value <= _BIGGEST:
        raise ValueError("a number is missing or out of range")
    return value


def _number_or_none(value: Any, least: int = 0) -> int | None:  # noqa: ANN401  (any JSON)
    return None if value is None else _number(value, least)
