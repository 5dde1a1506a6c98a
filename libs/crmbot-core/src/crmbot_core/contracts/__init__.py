"""The contract of the two streams: models, streams and batch validation."""

from crmbot_core.contracts.models import Action, Nature, Stub, Transaction
from crmbot_core.contracts.streams import ACTIONS, NATURE, STREAMS, Column, Stream, stream_named

__all__ = [
    "ACTIONS",
    "NATURE",
    "STREAMS",
    "Action",
    "Column",
    "Nature",
    "Stream",
    "Stub",
    "Transaction",
    "stream_named",
]
