"""Explains a message that was neither loaded nor rejected: a copy of an earlier one, or superseded."""

from collections import defaultdict
from datetime import datetime
from typing import Any, Literal

from tests.chaos.evidence import Batch, Evidence, Place
from tests.chaos.messages import Message

_CHAIN = ("kafka_partition", "previous_id")
_RowId = tuple[str, str]  # source_id and transaction_id, as text
_Original = tuple[Place, datetime]  # where it is, and when it was processed


class Copies:
    """The rows and dead letters that a message can be a copy of."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._rows: dict[_RowId, list[_Original]] = defaultdict(list)
        for place, rows in evidence.rows.items():
            if place is None or place in evidence.replays:
                continue
            for row in rows:
                row_id = (str(row["source_id"]), str(row["transaction_id"]))
                self._rows[row_id].append((place, row["loaded_at"]))
        self._letters: dict[bytes | None, list[_Original]] = defaultdict(list)
        for letter in evidence.dead_letters.values():
            if letter.transaction_id is not None:
                self._letters[letter.message.value].append((letter.place, letter.rejected_at))

    def fate(self, place: Place, message: Message, batch: Batch) -> Literal["copy", "superseded"] | None:
        """Return why a message was dropped; None if nothing accounts for it."""
        fields = message.fields
        if fields.get("kafka_partition") != place.partition:
            return None
        originals = [*self._rows_like(message), *self._letters.get(message.value, ())]
        if any(_is_before(original, place, batch.loaded_at) for original in originals):
            return "copy"
        source_id = str(fields.get("source_id"))
        if place.offset >= self._evidence.orders.get((batch.partition, batch.epoch, source_id), 0):
            return None
        # Behind a gap, foreign messages are superseded too; the bot's own must have arrived again.
        is_superseded = originals or message.is_foreign or self._is_accepted_loss(batch.partition, message)
        return "superseded" if is_superseded else None

    def is_copy_of_a_row(self, place: Place, message: Message, rejected_at: datetime) -> bool:
        """Return whether a dead letter is a copy of a row loaded earlier in its own partition."""
        return message.fields.get("kafka_partition") == place.partition and any(
            _is_before(original, place, rejected_at) for original in self._rows_like(message)
        )

    def _rows_like(self, message: Message) -> list[_Original]:
        """Return the rows whose message has the same key and values; fields of the chain may differ."""
        fields = message.fields
        known = self._rows.get((str(fields.get("source_id")), str(fields.get("transaction_id"))), [])
        content = _content(message)
        return [
            original for original in known if _content(self._evidence.processed[original[0]][0]) == content
        ]

    def _is_accepted_loss(self, partition: int, message: Message) -> bool:
        fields = message.fields
        return any(
            (gap.partition, gap.source_id) == (partition, fields["source_id"])
            and gap.after_id < fields["transaction_id"] <= gap.up_to_id
            for gap in self._evidence.losses.gaps
        )


def _is_before(original: _Original, place: Place, processed_at: datetime) -> bool:
    found, found_at = original
    if found.partition != place.partition:
        return found_at < processed_at
    return (found.log, found.offset) < (place.log, place.offset)


def _content(message: Message) -> tuple[bytes | None, dict[str, Any]]:
    return message.key, {name: value for name, value in message.fields.items() if name not in _CHAIN}
