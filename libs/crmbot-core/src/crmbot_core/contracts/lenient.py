"""Reads messages that may violate the contract."""

import json
from typing import Any


def fields_of(message: bytes | None) -> dict[str, Any]:
    """Return a message's fields, empty if it is not a JSON object.

    Invalid UTF-8 becomes surrogate escapes.
    """
    try:
        fields = json.loads((message or b"").decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
