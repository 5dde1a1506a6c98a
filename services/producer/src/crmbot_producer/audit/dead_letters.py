"""Tells whether a dead letter is of the very row that it names."""

import json
import re
from collections.abc import Callable

from crmbot_producer.audit.compare import DeadLetter
from crmbot_producer.sqlite import RowDigest

# What the producer writes before a row's own fields: where the message stands.
_CHAIN = re.compile(rb'\{"kafka_partition":[0-9]+,"previous_id":[0-9]+,')


def is_of_row(
    letter: DeadLetter, row: RowDigest, source_id: str, row_json: Callable[[int], bytes | None]
) -> bool:
    """Tell whether a dead letter holds this row as the producer sends it, or is its stub.

    Args:
        letter: whatever somebody sent.
        row: of the bot's file.
        source_id: the row's.
        row_json: returns the message of a row of the file without the chain's fields.
    """
    value = letter.value or b""
    chain = _CHAIN.match(value)
    if chain is None:
        return False
    # Anybody can write a stub; the chain goes through the producer's own.
    if letter.is_link and b'"stub"' in value and _names(value, row, source_id):
        return True
    own = row_json(row.transaction_id)
    return own is not None and len(value) - chain.end() == len(own) - 1 and value.endswith(own[1:])


def _names(value: bytes, row: RowDigest, source_id: str) -> bool:
    """Tell whether a stub names the row's number, source and digest; no other row has all of them."""
    try:
        stub = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(stub, dict) and (
        (stub.get("transaction_id"), stub.get("source_id"), stub.get("digest"))
        == (row.transaction_id, source_id, row.digest)
    )
