"""Kafka: which rows were sent, and what became of every message."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.checks.copies import Copies
from tests.chaos.checks.rows import as_text
from tests.chaos.evidence import Evidence


def bot_to_kafka(evidence: Evidence) -> Iterator[str]:
    """Every row of the bot is in Kafka once, in commit order.

    It may be there more than once after a `resend` or the loss of the producers' state topic.
    """
    sent: Counter[tuple[str, int]] = Counter()
    last_ids: dict[tuple[int, int, str], int] = {}
    seen: set[tuple[int, int, bytes | None]] = set()
    for place, message in evidence.own_messages:
        fields = message.fields
        line = (place.log, place.partition, fields["source_id"])
        if fields["transaction_id"] <= last_ids.get(line, 0) and not evidence.losses.resends:
            yield f"row {fields['transaction_id']} was sent to {tuple(place)} out of order"
        last_ids[line] = fields["transaction_id"]
        # A log restored from a copy shares messages with the one before it.
        if (identity := (place.partition, place.offset, message.value)) not in seen:
            seen.add(identity)
            sent[fields["source_id"], fields["transaction_id"]] += 1
    most = 1 + evidence.losses.resends
    for row in evidence.bot:
        times = sent.pop((row["source_id"], row["transaction_id"]), 0)
        if not 1 <= times <= most:
            yield f"row {row['transaction_id']} of the bot is {times} times in Kafka"
    replaced = {(row["source_id"], row["transaction_id"]) for rows in evidence.losses.files for row in rows}
    for row_id, times in sent.items():
        if times > most or row_id not in replaced:
            yield f"row {row_id[1]} is {times} times in Kafka and not in the bot's file"


def fate_of_messages(evidence: Evidence) -> Iterator[str]:
    """Every committed message is loaded, rejected byte for byte, a later copy, or superseded.

    A replayed message is both loaded and rejected.
    """
    copies = Copies(evidence)
    for place, (message, batch) in evidence.processed.items():
        letter = evidence.dead_letters.get(place)
        found = (len(evidence.rows.get(place, [])), int(letter is not None))
        if place in evidence.replays:
            if found != (1, 1):
                yield f"message {tuple(place)}, which was replayed, has {found} rows and rejects"
        elif sum(found) > 1:
            yield f"message {tuple(place)} has {found} rows and rejects"
        elif found == (0, 0) and copies.fate(place, message, batch) is None:
            yield f"message {tuple(place)} is neither loaded nor rejected"
        elif letter and not letter.is_link and copies.is_copy_of_a_row(place, message, letter.rejected_at):
            yield f"message {tuple(place)}, a copy of one that was loaded before, was rejected"
        if letter and (letter.message.key, letter.message.value) != message[:2]:
            yield f"message {tuple(place)} is not in the rejects byte for byte"


def rows_come_from_messages(evidence: Evidence) -> Iterator[str]:
    """Nothing is in the warehouse that was not committed to Kafka."""
    for row in evidence.rows.get(None, []):
        at = (row["kafka_partition"], row["kafka_offset"])
        yield f"the row of {at} is in the warehouse, but was not committed to Kafka"
    for place in evidence.dead_letters:
        if place not in evidence.processed:
            yield f"dead letter {tuple(place)} is in the warehouse, but was not committed to Kafka"
    for place in evidence.replays:
        if place not in evidence.dead_letters:
            yield f"{tuple(place)} was replayed, but is no dead letter"
    for spot, rows in evidence.rows.items():
        for row in rows:
            if spot is None or spot in evidence.replays:
                continue
            fields = evidence.processed[spot][0].fields
            stored = {name: as_text(row[name], value) for name, value in fields.items() if name in row}
            if stored != fields:
                yield f"the row of {tuple(spot)} differs from its message"
