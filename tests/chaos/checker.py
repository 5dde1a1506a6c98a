"""Looks at the evidence of a run: do the promises hold?

Written apart from the services: it shares no code with them and knows of the contract only what it needs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from tests.chaos.evidence import Evidence, Message, Range


def violations(evidence: Evidence) -> Iterator[str]:
    """Yield every broken promise, in words."""
    for check in (
        _bot_to_kafka,
        _bot_to_warehouse,
        _fate_of_messages,
        _rows_come_from_messages,
        _order,
        _ledger,
    ):
        for violation in check(evidence):
            yield f"{evidence.topic}: {violation}"


def _bot_to_kafka(evidence: Evidence) -> Iterator[str]:
    """Every row of the bot is in Kafka once, in the order of commits; one of a lost file, at most once."""
    sent: Counter[str] = Counter()
    last_ids: dict[tuple[int, str], int] = {}
    for (partition, offset), message in sorted(evidence.messages.items()):
        if message.is_foreign:
            continue
        fields = message.fields
        sent[fields["event_id"]] += 1
        line = (partition, fields["source_id"])
        if fields["transaction_id"] <= last_ids.get(line, 0):
            yield f"row {fields['transaction_id']} was sent to {(partition, offset)} out of order"
        last_ids[line] = fields["transaction_id"]
    left = Counter(sent)
    for row in evidence.bot:
        if (times := left.pop(row["event_id"], 0)) != 1:
            yield f"row {row['transaction_id']} of the bot is {times} times in Kafka"
    gone = {row["event_id"] for rows in evidence.losses.files for row in rows}
    for event_id, times in left.items():
        if times != 1 or event_id not in gone:
            yield f"event {event_id} is {times} times in Kafka and not in the bot's file"
    for rows in evidence.losses.files:
        newest = max((row["transaction_id"] for row in rows if row["event_id"] in sent), default=0)
        for row in rows:
            if row["transaction_id"] <= newest and row["event_id"] not in sent:
                yield f"row {row['transaction_id']} of a file that is gone was left out"


def _bot_to_warehouse(evidence: Evidence) -> Iterator[str]:
    """Every row that was sent is in the warehouse once, as it was, unless its loss was accepted."""
    loaded: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for place, rows in evidence.rows.items():
        for row in rows:
            if place not in evidence.replays:
                loaded[str(row["event_id"])].append(row)
    places = {m.fields["event_id"]: place for place, m in evidence.messages.items() if not m.is_foreign}
    rows_by_event = {row["event_id"]: row for rows in [*evidence.losses.files, evidence.bot] for row in rows}
    for event_id, row in rows_by_event.items():
        found = loaded.pop(event_id, [])
        source = places.get(event_id)
        # What is not in Kafka is told of elsewhere. Of a lost message a foreign copy may have been loaded.
        is_due = source is not None and not evidence.is_lost(source)
        if len(found) > 1 or (is_due and not found):
            yield f"row {row['transaction_id']} of the bot is {len(found)} times in the warehouse"
        if found and source is None:
            yield f"row {row['transaction_id']} of the bot is in the warehouse and not in Kafka"
        for copy in found:
            for name, value in row.items():
                if value != _as_text(copy[name], value):
                    yield f"row {row['transaction_id']}: {name} is {copy[name]!r}, the bot has {value!r}"
    for event_id in loaded:
        yield f"event {event_id} is in the warehouse and was in no file of the bot"


def _fate_of_messages(evidence: Evidence) -> Iterator[str]:
    """Every committed message is loaded, rejected byte for byte, or a later copy of a loaded one.

    One that was replayed is both; one whose loss was accepted is neither.
    """
    loaded = {str(row["event_id"]): place for place, rows in evidence.rows.items() for row in rows}
    for place, message in evidence.messages.items():
        rows, rejects = evidence.rows.get(place, []), evidence.rejects.get(place, [])
        found = (len(rows), len(rejects))
        original = loaded.get(message.fields.get("event_id", ""))
        is_copy = original is not None and original[0] == place[0] and original < place
        if evidence.is_lost(place):
            if found != (0, 0):
                yield f"message {place}, whose loss was accepted, has {found} rows and rejects"
        elif place in evidence.replays:
            if found != (1, 1):
                yield f"message {place}, which was replayed, has {found} rows and rejects"
        elif sum(found) > 1:
            yield f"message {place} has {found} rows and rejects"
        elif found == (0, 0) and not is_copy:
            yield f"message {place} is neither loaded nor rejected"
        elif rejects and is_copy and original is not None and evidence.messages[original][:2] == message[:2]:
            yield f"message {place}, a copy of {original}, was rejected"
        if any((reject.key, reject.value) != (message.key, message.value) for reject in rejects):
            yield f"message {place} is not in the rejects byte for byte"


def _rows_come_from_messages(evidence: Evidence) -> Iterator[str]:
    """Nothing is in the warehouse that was not committed to Kafka."""
    for place in evidence.rows.keys() | evidence.rejects.keys() | evidence.replays:
        if place not in evidence.messages:
            yield f"{place} is in the warehouse, but was not committed to Kafka"
    for place, rows in evidence.rows.items():
        message = evidence.messages.get(place, Message(None, None))
        for row in rows:
            if place not in evidence.replays and message.fields.get("event_id") != str(row["event_id"]):
                yield f"the row of {place} is not the message of {place}"


def _order(evidence: Evidence) -> Iterator[str]:
    """The rows of a lead arrived in the order of their numbers.

    Within a partition offsets tell it; where a lead has moved to another one, the loads' times do.
    """
    leads: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for place, rows in evidence.rows.items():
        for row in rows:
            if place not in evidence.replays:
                leads[str(row["source_id"]), row["lead_id"]].append(row)
    for (_, lead), rows in leads.items():
        for first, second in pairwise(sorted(rows, key=lambda row: int(row["transaction_id"]))):
            has_moved = first["kafka_partition"] != second["kafka_partition"]
            clock = "loaded_at" if has_moved else "kafka_offset"
            if first[clock] >= second[clock]:
                yield (
                    f"lead {lead}: row {second['transaction_id']} of partition {second['kafka_partition']} "
                    f"came before row {first['transaction_id']} of partition {first['kafka_partition']}"
                )


def _ledger(evidence: Evidence) -> Iterator[str]:
    """The ledger's chain is unbroken, covers all messages, and counts what is there."""
    gaps = set(evidence.losses.accepted)
    for partition in {place[0] for place in evidence.messages} | evidence.ledger.keys():
        end, loaded_at = 0, None
        for batch in evidence.ledger.get(partition, []):
            where = f"ledger of partition {partition} at {batch['start_offset']}"
            if batch["start_offset"] != end:
                yield f"{where}: the batch before it ended at {end}"
            end = batch["end_offset"]
            if loaded_at is not None and batch["loaded_at"] <= loaded_at:
                yield f"{where} was loaded before the batch before it"
            loaded_at = batch["loaded_at"]
            span = Range(partition, batch["start_offset"], end)
            told = (batch["rows_loaded"], batch["rows_rejected"], batch["rows_duplicate"])
            found = (0, 0, 0) if span in gaps else _counted(evidence, span)
            gaps.discard(span)
            if told != found:
                yield f"{where} tells of {told} rows, rejects and copies, but there are {found}"
        beyond = [place[1] for place in evidence.messages if place[0] == partition and place[1] >= end]
        if beyond:
            yield f"ledger of partition {partition} ends at {end}, before {len(beyond)} messages"
    for gap in gaps:
        yield f"the ledger does not tell of the loss of {gap}"


def _counted(evidence: Evidence, span: Range) -> tuple[int, int, int]:
    """Return the numbers of rows, of rejects, and of messages that are neither, without what was replayed."""
    places = [(span.partition, offset) for offset in range(span.start, span.end)]
    loaded = sum(len(evidence.rows.get(place, [])) for place in places if place not in evidence.replays)
    rejected = sum(len(evidence.rejects.get(place, [])) for place in places)
    messages = sum(place in evidence.messages for place in places)
    return loaded, rejected, messages - loaded - rejected


def _as_text(value: object, like: object) -> object:
    """Return a value of the warehouse as the bot would have written it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return value if value is None or isinstance(like, int) else str(value)
