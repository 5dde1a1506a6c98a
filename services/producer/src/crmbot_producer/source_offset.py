"""The source offset: how far a bot's file has been sent, and the check that the file is the same."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from crmbot_core.errors import StoppedError
from crmbot_producer.sqlite import Identity

_BIGGEST = 2**63 - 1


class SentRow(NamedTuple):
    """A row in Kafka; `event_id` in the form of `sqlite_page.event_name`."""

    transaction_id: int
    event_id: str


@dataclass(frozen=True)
class SourceOffset:
    """A record of the state topic: how far one identity of a file has been sent.

    Attributes:
        source_id: the identity.
        transaction_id: the row to resume after: the newest row sent, or an older one during a resend; if
            nothing was sent, the row after which the identity starts.
        event_id: of that row, in the form of `sqlite_page.event_name`; None if nothing was sent.
        partitions: number of partitions that rows are spread over; None means all that the topic has.
        last_ids: the last row sent to each partition: the end of the source's chain there.
        sent_up_to: set when new-source closes the identity at `transaction_id`: the newest row sent by then.
        newest: the newest row sent, while a resend has not reached it.
    """

    source_id: str
    transaction_id: int
    event_id: str | None
    partitions: int | None = None
    last_ids: Mapping[int, int] = field(default_factory=dict)
    sent_up_to: int | None = None
    newest: SentRow | None = None

    @property
    def newest_id(self) -> int:
        """The newest row sent, according to the record."""
        newest = self.newest.transaction_id if self.newest else 0
        return max(self.transaction_id, self.sent_up_to or 0, newest, *self.last_ids.values())

    @property
    def sent_rows(self) -> list[SentRow]:
        """The rows whose event_id is recorded."""
        resumed_at = [] if self.event_id is None else [SentRow(self.transaction_id, self.event_id)]
        return resumed_at if self.newest is None else [*resumed_at, self.newest]

    def moved_to(self, transaction_id: int, event_id: str) -> "SourceOffset":
        """Return the offset after all rows up to `transaction_id` were sent."""
        is_behind = self.newest is not None and self.newest.transaction_id > transaction_id
        return replace(
            self,
            transaction_id=transaction_id,
            event_id=event_id,
            newest=self.newest if is_behind else None,
        )

    def encode(self) -> bytes:
        """Return the record's value."""
        record = {
            "transaction_id": self.transaction_id,
            "event_id": self.event_id,
            "partitions": self.partitions,
            "last_ids": self.last_ids,
            "sent_up_to": self.sent_up_to,
            "newest": self.newest,
        }
        # ASCII, so that an event_id with invalid UTF-8 survives.
        return json.dumps(record, default=dict).encode("ascii")

    @staticmethod
    def decode(source_id: str, value: bytes) -> "SourceOffset":
        """Decode a record's value; raise ValueError if it is not a source offset."""
        try:
            record = json.loads(value)
            newest = record["newest"]
            return SourceOffset(
                source_id,
                _number(record["transaction_id"]),
                None if record["event_id"] is None else _text(record["event_id"]),
                _number_or_none(record["partitions"], least=1),
                {
                    _number(int(partition)): _number(last_id)
                    for partition, last_id in record["last_ids"].items()
                },
                _number_or_none(record["sent_up_to"]),
                None if newest is None else SentRow(_number(newest[0]), _text(newest[1])),
            )
        except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a source offset: {error!r}") from error


def state_key(mrf: str, stream: str, source_id: str) -> bytes:
    """Return the key of an identity's record."""
    return f"{mrf}|{stream}|{source_id}".encode()


def nothing_sent(identity: Identity) -> SourceOffset:
    """Return the source offset of an identity before any row is sent."""
    return SourceOffset(identity.source_id, identity.starts_after, None)


def newest_sent(after: int, record: SourceOffset | None, known: Iterable[SentRow | None]) -> SentRow | None:
    """Return the newest row sent after `after`, according to the record and other `known` rows."""
    sent = [*known, *(record.sent_rows if record else ())]
    return max((row for row in sent if row and row.transaction_id > after), default=None)


def to_close(identities: Sequence[Identity], recorded: Mapping[str, SourceOffset]) -> list[Identity]:
    """Return the identities that have ended in the file but not yet in their records."""
    return [
        identity
        for identity in identities[:-1]
        if identity.lost_up_to is not None
        and (record := recorded.get(identity.source_id)) is not None
        and (
            record.sent_up_to is None
            or not identity.starts_after <= record.transaction_id <= identity.ends_at
        )
    ]


def decoded(
    records: Mapping[bytes, bytes], mrf: str, stream: str, needed: Collection[str] = ()
) -> dict[str, SourceOffset]:
    """Return the source offsets of one MRF and stream, by source_id.

    Ignores records with other keys, and records that cannot be decoded.

    Raises:
        StoppedError: the record of a `needed` source cannot be decoded.
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
    event_id_of: Callable[[int], str | None],
) -> None:
    """Check that a file's rows of one identity are the ones that were sent.

    Args:
        path: the file, for the message.
        stream: its stream, for the message.
        identity: one of the file's identities.
        offset: its source offset.
        is_present: whether it is the file's newest identity.
        newest_id: the file's greatest transaction_id.
        event_id_of: returns the event_id of a row of the file, None if there is no such row.

    Raises:
        StoppedError: the file was replaced or restored.
    """
    row = offset.transaction_id
    problem = None
    if is_present and offset.sent_up_to is not None:
        problem = f"its source {identity.source_id} was closed at row {row}, and its next one is missing"
    elif is_present and offset.newest_id > newest_id:
        problem = f"row {offset.newest_id}, which was sent, is missing"
    else:
        problem = _difference(identity, row, offset.event_id, event_id_of)
        if problem is None and offset.newest is not None:
            problem = _difference(identity, *offset.newest, event_id_of)
    if problem is None:
        return
    raise StoppedError(
        f"{path} was replaced or restored: {problem}. Put the right file back, or, if the bot has to go on "
        f"with this one, give it a new identity: crmbot-producer new-source --stream {stream}"
    )


def _difference(
    identity: Identity, row: int, event_id: str | None, event_id_of: Callable[[int], str | None]
) -> str | None:
    """Describe how the file differs from a sent row; None if it does not."""
    found = event_id_of(row)
    if event_id is not None and found is None:
        return f"row {row}, which was sent, is missing"
    if not identity.starts_after <= row <= identity.ends_at:
        return f"row {row} was sent as one of source {identity.source_id}, and belongs to another one now"
    if event_id not in (None, found):
        return f"row {row}, which was sent, is another one"
    return None


def _number(value: Any, least: int = 0) -> int:  # noqa: ANN401  (any JSON)
    if type(value) is not int or not least <= value <= _BIGGEST:
        raise ValueError("a number is missing or out of range")
    return value


def _number_or_none(value: Any, least: int = 0) -> int | None:  # noqa: ANN401  (any JSON)
    return None if value is None else _number(value, least)


def _text(value: Any) -> str:  # noqa: ANN401  (any JSON)
    if not isinstance(value, str):
        raise TypeError(f"not a text: {type(value).__name__}")
    return value
