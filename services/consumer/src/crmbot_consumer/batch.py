"""Prepares the messages of a partition for one warehouse transaction, a whole batch at a time. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from pydantic import ValidationError

from crmbot_consumer.chain import Chains, Link, Orders, Verdict, read_link
from crmbot_consumer.messages import Copies, Messages, PartitionBatch, Reject, Suspect, md5_of
from crmbot_core.contracts import Stream, Stub
from crmbot_core.contracts.batch import BatchCheck, Row, copy_field, text_of_field
from crmbot_core.contracts.digest import digest
from crmbot_core.errors import StoppedError, TransientError
from crmbot_core.ledger import Position

_STUB_REASONS = {
    "too_large": "the producer did not carry the row: it is larger than a message may be",
    "not_text": "the producer did not carry the row: one of its values is no text",
}


class _Checked(NamedTuple):
    """Individually validated messages: rows with their positions, and reject reasons by position."""

    rows: list[Row]
    positions: Sequence[int]
    reasons: dict[int, str]


class Preparation:
    """Validates and classifies the messages of one stream of one MRF."""

    def __init__(
        self, stream: Stream, mrf: str, refused: Mapping[tuple[int, int], str] | None = None
    ) -> None:
        """Prepare for a stream.

        Args:
            stream: the contract.
            mrf: the topic's MRF.
            refused: by partition and offset, why the warehouse refused a valid row.
        """
        self._check = BatchCheck(stream)
        self._mrf = mrf.encode()
        self._topic = stream.topic(mrf)
        self._stream = stream
        self._refused = refused or {}
        index = stream.column_names.index
        self._id, self._previous, self._source = (
            index("transaction_id"),
            index("previous_id"),
            index("source_id"),
        )
        self._lead, self._mrf_column = index("lead_id"), index("mrf")
        self._partition = index("kafka_partition")
        self._row_columns = [index(column.name) for column in stream.row_columns]

    def __call__(
        self,
        partition: int,
        start: Position,
        messages: Messages,
        orders: Orders | None = None,
        read_to: int = 0,
    ) -> PartitionBatch:
        """Prepare one or more messages of one partition.

        The batch also covers the remaining offsets below `read_to`, which have no messages: if they were left
        for the next batch, retention could delete them, and that would look like a loss.

        Raises:
            TransientError: the offsets do not increase from `start`; the client mixed in an earlier fetch.
            StoppedError: Kafka lost messages of a source before one of these.
        """
        first, last = messages.offsets[0], messages.offsets[-1]
        if first < start.next_offset or last - first < len(messages) - 1:
            raise TransientError(
                f"partition {partition}: offsets {first} to {last} came where {start.next_offset} is the next"
            )
        end = replace(start, next_offset=max(last + 1, read_to))
        checked = self.checked(partition, messages)
        orders = orders or Orders()
        if not checked.reasons and (last_ids := self._one_chain(checked.rows, start, first, orders)):
            return PartitionBatch(
                partition, start, replace(end, last_ids=last_ids), checked.rows, messages.offsets
            )
        return self._one_by_one(partition, start, end, messages, checked, orders)

    def checked(self, partition: int, messages: Messages) -> _Checked:
        """Validate each message by itself: contract, MRF, key and partition."""
        rows, positions, rejected = self._check(messages.values)
        reasons = dict(rejected)
        for position in reasons:
            reasons[position] = _stub_reason(messages.values[position]) or reasons[position]
        misplaced = self._misplaced(partition, rows, [messages.keys[position] for position in positions])
        for position, offset in enumerate(messages.offsets) if self._refused else ():
            if (partition, offset) in self._refused:
                reasons.setdefault(position, self._refused[partition, offset])
        reasons |= {positions[index]: reason for index, reason in misplaced.items()}
        if reasons and len(reasons) > len(rejected):
            kept = [index for index, position in enumerate(positions) if position not in reasons]
            rows, positions = [rows[index] for index in kept], [positions[index] for index in kept]
        return _Checked(rows, positions, reasons)

    def settled(self, batch: PartitionBatch, known: Copies) -> PartitionBatch:
        """Decide each suspect: a copy of a row or reject in the warehouse or the batch, or a dead letter."""
        rows = set(known.rows)
        rejects = set(known.rejects)
        suspected = {(s.link.source_id, s.link.transaction_id) for s in batch.suspects}
        for row in batch.rows:
            if (place := (row[self._source].decode(), int(row[self._id]))) in suspected:
                rows.add((*place, self._digest(row)))
        for reject in batch.rejects:
            if reject.link:
                rejects.add((*reject.link[:2], md5_of(reject.message)))
        dead_letters = []
        for suspect in batch.suspects:
            place = suspect.link[:2]
            is_copy = (*place, md5_of(suspect.message)) in rejects
            if suspect.digest is not None and (*place, suspect.digest) in rows:
                is_copy = True
            if not is_copy:
                dead_letters.append(Reject(suspect.message, suspect.reason, suspect.link))
                rejects.add((*place, md5_of(suspect.message)))
        return replace(
            batch,
            rejects=_by_offset([*batch.rejects, *dead_letters]),
            duplicates=batch.duplicates + len(batch.suspects) - len(dead_letters),
            suspects=(),
        )

    def _one_chain(
        self, rows: Sequence[Row], start: Position, first: int, orders: Orders
    ) -> dict[str, int] | None:
        """Return the chains' ends if all rows are the next links of one source's chain, otherwise None.

        `first` is the offset of the first row. Compares texts, because the contract allows only one spelling
        of a number.
        """
        sources = {row[self._source] for row in rows}
        if len(sources) != 1:
            return None
        source = sources.pop().decode()
        if source in orders.foreign or (start.log_epoch and first < orders.resends.get(source, 0)):
            return None
        texts = [row[self._id] for row in rows]
        last = start.last_ids.get(source, 0)
        if [row[self._previous] for row in rows] != [b"%d" % last, *texts[:-1]]:
            return None
        ids = [last, *map(int, texts)]
        if not all(a < b for a, b in pairwise(ids)):
            return None
        return {**start.last_ids, source: ids[-1]}

    def _one_by_one(
        self,
        partition: int,
        start: Position,
        end: Position,
        messages: Messages,
        checked: _Checked,
        orders: Orders,
    ) -> PartitionBatch:
        chains = Chains(start, orders)
        rows: list[Row] = []
        offsets: list[int] = []
        rejects: list[Reject] = []
        suspects: list[Suspect] = []
        superseded = 0
        row_of = dict(zip(checked.positions, checked.rows, strict=True))
        links = {position: self._link(row) for position, row in row_of.items()}
        linked_at = {(link.source_id, link.previous_id): position for position, link in links.items()}
        for position in range(len(messages)):
            message, row = messages[position], row_of.get(position)
            reason = checked.reasons.get(position, "")
            link = links[position] if row else read_link(message.value)
            if link is None or link.kafka_partition != partition:
                rejects.append(Reject(message, reason, link))
                continue
            verdict = chains.verdict(link, message.offset)
            if verdict is Verdict.GAP:
                last = chains.last_ids.get(link.source_id, 0)
                # Foreign if it is invalid, or if a later message continues the chain.
                if row and linked_at.get((link.source_id, last), -1) < position:
                    raise self._gap_error(partition, message.offset, link, last)
                verdict = Verdict.FOREIGN
            if verdict in (Verdict.NEXT, Verdict.FILLER):
                chains.follow(link)
                if row:
                    rows.append(row)
                    offsets.append(message.offset)
                else:
                    rejects.append(Reject(message, reason, link, is_link=True))
            elif verdict is Verdict.SUPERSEDED:
                superseded += 1
            elif verdict is Verdict.SEEN:
                row_digest = self._digest(row) if row else None
                suspects.append(Suspect(message, link, row_digest, reason or _seen_reason(link)))
            else:
                last = chains.last_ids.get(link.source_id, 0)
                rejects.append(Reject(message, reason or _foreign_reason(link, last), link))
        return PartitionBatch(
            partition,
            start,
            replace(end, last_ids=chains.last_ids, gaps=chains.gaps),
            rows,
            offsets,
            rejects,
            superseded=superseded,
            suspects=suspects,
        )

    def _link(self, row: Row) -> Link:
        return Link(
            row[self._source].decode(),
            int(row[self._id]),
            int(row[self._previous]),
            int(row[self._partition]),
        )

    def _digest(self, row: Row) -> str:
        return digest(text_of_field(row[index]) for index in self._row_columns)

    def _misplaced(self, partition: int, rows: Sequence[Row], keys: Sequence[bytes | None]) -> dict[int, str]:
        """Return, by index, why rows have the wrong topic, partition or key."""
        here = b"%d" % partition
        if (
            [row[self._lead] for row in rows] == keys
            and {row[self._mrf_column] for row in rows} <= {self._mrf}
            and {row[self._partition] for row in rows} <= {here}
        ):
            return {}
        found = {}
        for index, (row, key) in enumerate(zip(rows, keys, strict=True)):
            if row[self._mrf_column] != self._mrf:
                own, other = self._mrf.decode(), row[self._mrf_column].decode()
                found[index] = f"mrf: a row of {other} in a topic of {own}"
            elif row[self._partition] != here:
                found[index] = f"kafka_partition: a message of another partition in {partition}"
            elif key is None or row[self._lead] != copy_field(key):
                found[index] = "key: is not the lead_id, so the order of the lead's rows is not kept"
        return found

    def _gap_error(self, partition: int, offset: int, link: Link, last: int) -> StoppedError:
        source, previous = link.source_id, link.previous_id
        reject_hint = (
            f". If that source is no bot's: crmbot-consumer reject-source --stream {self._stream.name} "
            f"--source-id {source}"
            if last == 0
            else ""
        )
        return StoppedError(
            f"{self._topic} partition {partition}: data loss: offset {offset} follows row {previous} of "
            f"source {source}, but the last one loaded is {last}: Kafka lost what lies between. To have it "
            f"sent again: crmbot-producer resend --stream {self._stream.name}. To go on without it: "
            "crmbot-consumer "
            f"accept-loss --stream {self._stream.name} --partition {partition} --source-id {source} "
            f"--after-id {last} --up-to-id {previous}{reject_hint}"
        )


def _stub_reason(value: bytes | None) -> str | None:
    try:
        return _STUB_REASONS[Stub.model_validate_json(value or b"").stub]
    except ValidationError:
        return None


def _seen_reason(link: Link) -> str:
    return (
        f"transaction_id {link.transaction_id} of source {link.source_id} has been passed, and the warehouse "
        "does not have this row"
    )


def _foreign_reason(link: Link, last: int) -> str:
    return (
        f"foreign: transaction_id {link.transaction_id} with previous_id {link.previous_id} is not the next "
        f"row of source {link.source_id}, whose last one in this partition is {last}"
    )


def _by_offset(rejects: Sequence[Reject]) -> list[Reject]:
    return sorted(rejects, key=lambda reject: reject.message.offset)
