"""Decides whether a dead letter is really of the row that it names."""

import json
import re
from collections.abc import Callable

from crmbot_producer.audit.compare import DeadLetter
from crmbot_producer.sqlite import RowDigest

# The chain's fields, which the producer writes before a row's own.
_CHAIN = re.compile(rb'\{"kafka_partition":[0-9]+,"previous_id":[0-9]+,')


def is_of_row(
    letter: DeadLetter, row: RowDigest, source_id: str, row_json: Callable[[int], bytes | None]
) -> bool:
    """Return whether a dead letter contains this row as the producer sends it, or is its stub.

    Args:
        letter: may come from anyone.
        row: of the bot's file.
        source_id: the row's.
        row_json: returns the message of a row of the file, without the chain's fields.
    """
    value = letter.value or b""
    chain = _CHAIN.match(value)
    if chain is None:
        return False
    # Anyone can write a stub, but only the producer's is a link of the chain.
    if letter.is_link and b'"stub"' in value and _is_stub_of(value, row, source_id):
        return True
    own = row_json(row.transaction_id)
    return own is not None and len(value) - chain.end() == len(own) - 1 and value.endswith(own[1:])


def _is_stub_of(value: bytes, row: RowDigest, source_id: str) -> bool:
    """Return whether a stub has the row's id, source and digest; no other row has all three."""
    try:
        stub = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(stub, dict) and (
        (stub.get("transaction_id"), stub.get("source_id"), stub.get("digest"))
        == (row.transaction_id, source_id, row.digest)
    )
