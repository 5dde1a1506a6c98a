"""The bot's files against the warehouse: every row once, unchanged and in order, and no others."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from tests.chaos.bot_file import BotRow
from tests.chaos.evidence import DeadLetter, Evidence, Row
from tests.chaos.losses import Gap

# Columns that the bot's file does not have.
_OF_THE_TABLE = {"kafka_partition", "kafka_offset", "previous_id", "loaded_at"}
_CHAIN = {"kafka_partition", "previous_id"}


def bot_to_warehouse(evidence: Evidence) -> Iterator[str]:
    """Every row of the file is in the warehouse once, unchanged, or a dead letter if it is invalid."""
    loaded = _by_event(evidence)
    links = _links(evidence)
    for row in evidence.bot:
        yield from _arrived(evidence, row, loaded.pop(row["event_id"], []), links)


def replaced_files_to_warehouse(evidence: Evidence) -> Iterator[str]:
    """Rows of replaced files that were sent are in the warehouse once, and no others."""
    loaded, links = _by_event(evidence), _links(evidence)
    for row in evidence.bot:
        loaded.pop(row["event_id"], None)
    known = {row["event_id"] for row in evidence.bot}
    fields = (message.fields for _, message in evidence.own_messages)
    sent = {(row["source_id"], row["transaction_id"]) for row in fields}
    newest: dict[str, int] = {}
    for source_id, transaction_id in sent:
        newest[source_id] = max(newest.get(source_id, 0), transaction_id)
    for rows in evidence.losses.files:
        for row in rows:
            place = (row["source_id"], row["transaction_id"])
            if row["event_id"] in known or place[1] > newest.get(place[0], 0):
                continue
            known.add(row["event_id"])
            found = loaded.pop(row["event_id"], [])
            if place not in sent:
                yield f"row {place[1]} of a replaced file was skipped"
            elif found or not _is_accepted_loss(evidence, *place):
                yield from _arrived(evidence, row, found, links)
    for event_id in loaded:
        yield f"event {event_id} is in the warehouse and was in no file of the bot"


def order(evidence: Evidence) -> Iterator[str]:
    """The rows of a lead were loaded in the order of their transaction_ids.

    Within a partition's log, offsets are compared; if a lead has moved to another one, load times. Replayed
    rows, and rows of an accepted gap, may be late.
    """
    leads: dict[tuple[str, str], list[tuple[int, Row]]] = defaultdict(list)
    for place, rows in evidence.rows.items():
        for row in rows:
            is_late = place in evidence.replays or _is_accepted_loss(
                evidence, str(row["source_id"]), row["transaction_id"]
            )
            if place is not None and not is_late:
                leads[str(row["source_id"]), row["lead_id"]].append((place.log, row))
    for (_, lead), arrived in leads.items():
        for (log, first), (next_log, second) in pairwise(
            sorted(arrived, key=lambda item: int(item[1]["transaction_id"]))
        ):
            partitions = first["kafka_partition"], second["kafka_partition"]
            has_moved = partitions[0] != partitions[1] or log != next_log
            clock = "loaded_at" if has_moved else "kafka_offset"
            if first[clock] >= second[clock]:
                yield (
                    f"lead {lead}: row {second['transaction_id']} of partition {partitions[1]} "
                    f"was loaded before row {first['transaction_id']} of partition {partitions[0]}"
                )


def _arrived(
    evidence: Evidence, row: BotRow, found: list[Row], links: dict[tuple[str, int], list[DeadLetter]]
) -> Iterator[str]:
    number, event_id = row["transaction_id"], row["event_id"]
    letters = links.get((row["source_id"], number), [])
    is_invalid = event_id in evidence.losses.invalid
    is_replayed = event_id in evidence.replays.values()
    if len(found) != (0 if is_invalid and not is_replayed else 1):
        yield f"row {number} of the bot is {len(found)} times in the warehouse"
    if len(letters) != is_invalid:
        yield f"row {number} of the bot is {len(letters)} times a dead letter"
    for letter in letters:
        if not _is_of(letter, row):
            yield f"dead letter {letter.place} claims to be row {number} of the bot, but differs"
    expected = row | evidence.losses.repaired.get(event_id, {})
    for copy in found:
        if copy.keys() - _OF_THE_TABLE != expected.keys():
            yield f"row {number}: its columns are {sorted(copy)}"
            continue
        for name, value in expected.items():
            if value != as_text(copy[name], value):
                yield f"row {number}: {name} is {copy[name]!r}, the bot has {value!r}"


def _is_of(letter: DeadLetter, row: BotRow) -> bool:
    """Return whether a dead letter holds a row, or is its stub."""
    fields = letter.message.fields
    if "stub" in fields:
        return bool(fields["digest"] == _digest(row, letter))
    return {name: value for name, value in fields.items() if name not in _CHAIN} == row


def _digest(row: BotRow, letter: DeadLetter) -> str:
    """Return the expected digest of a stub: of the row's values in the order of the contract."""
    of_identity = ("schema_version", "transaction_id", "event_id", "source_id", "mrf")
    names = [*of_identity, *(name for name in row if name not in of_identity)]
    return hashlib.md5(b"\x1f".join(_as_bytes(row[name]) for name in names)).hexdigest()


def _as_bytes(value: Any) -> bytes:  # noqa: ANN401  (whatever SQLite holds)
    if value is None:
        return b""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")


def _by_event(evidence: Evidence) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in evidence.table:
        found[str(row["event_id"])].append(row)
    return found


def _links(evidence: Evidence) -> dict[tuple[str, int], list[DeadLetter]]:
    found: dict[tuple[str, int], list[DeadLetter]] = defaultdict(list)
    for letter in evidence.dead_letters.values():
        if letter.is_link:
            found[letter.source_id or "", letter.transaction_id or 0].append(letter)
    return found


def _is_accepted_loss(evidence: Evidence, source_id: str, transaction_id: int) -> bool:
    def holds(gap: Gap) -> bool:
        return gap.source_id == source_id and gap.after_id < transaction_id <= gap.up_to_id

    return any(map(holds, evidence.losses.gaps))


def as_text(value: object, like: object) -> object:
    """Return a value of the warehouse as the bot writes it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return value if value is None or isinstance(like, int) else str(value)
