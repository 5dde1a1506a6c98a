"""Looks at the evidence of a run: do the promises hold?

Written apart from the services: it shares no code with them and knows of the contract only what it needs.
"""

from collections.abc import Callable, Iterator

from tests.chaos.checks import ledger, messages, rows
from tests.chaos.evidence import Evidence

Check = Callable[[Evidence], Iterator[str]]

# What an audit can see in the bot's file and the warehouse, and what it can see in the warehouse alone.
_FILE = (rows.bot_to_warehouse, rows.gone_to_warehouse, rows.order)
_WAREHOUSE = (ledger.chains, ledger.sequence)
_KAFKA = (
    messages.bot_to_kafka,
    messages.fate_of_messages,
    messages.rows_come_from_messages,
    ledger.counts,
)


def violations(evidence: Evidence) -> Iterator[str]:
    """Yield every broken promise, in words."""
    yield from file_violations(evidence)
    yield from _found(evidence, *_WAREHOUSE, *_KAFKA)


def file_violations(evidence: Evidence) -> Iterator[str]:
    """Yield those that the bot's file and the warehouse show."""
    yield from _found(evidence, *_FILE)


def warehouse_violations(evidence: Evidence) -> Iterator[str]:
    """Yield those that the warehouse shows by itself."""
    yield from _found(evidence, *_WAREHOUSE)


def _found(evidence: Evidence, *checks: Check) -> Iterator[str]:
    for check in checks:
        for violation in check(evidence):
            yield f"{evidence.topic}: {violation}"
