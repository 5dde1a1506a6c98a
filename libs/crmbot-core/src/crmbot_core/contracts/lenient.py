"""Reads messages that may break the contract."""

import json
from typing import Any


def fields_of(message: bytes | None) -> dict[str, Any]:
    """Return what a message says, nothing if it is no JSON object.

    Bytes that are not UTF-8 become surrogate escapes.
    """
    try:
        fields = json.loads((message or b"").decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
