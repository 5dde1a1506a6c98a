"""Checks the evidence of a run against the guarantees of exactly-once delivery.

It shares no code with the services and knows only as much of the contract as it needs.
"""

from collections.abc import Callable, Iterator

from tests.chaos.checks import ledger, messages, rows
from tests.chaos.evidence import Evidence

Check = Callable[[Evidence], Iterator[str]]

# Checks that the audit covers too: those that need the bot's file, and those of the warehouse alone.
_FILE = (rows.bot_to_warehouse, rows.replaced_files_to_warehouse, rows.order)
_WAREHOUSE = (ledger.chains, ledger.sequence)
_KAFKA = (
    messages.bot_to_kafka,
    messages.fate_of_messages,
    messages.rows_come_from_messages,
    ledger.counts,
)


def violations(evidence: Evidence) -> Iterator[str]:
    """Yield a description of every violation."""
    yield from file_violations(evidence)
    yield from _found(evidence, *_WAREHOUSE, *_KAFKA)


def file_violations(evidence: Evidence) -> Iterator[str]:
    """Yield the violations that show in the bot's file and the warehouse."""
    yield from _found(evidence, *_FILE)


def warehouse_violations(evidence: Evidence) -> Iterator[str]:
    """Yield the violations that show in the warehouse alone."""
    yield from _found(evidence, *_WAREHOUSE)


def _found(evidence: Evidence, *checks: Check) -> Iterator[str]:
    for check in checks:
        for violation in check(evidence):
            yield f"{evidence.topic}: {violation}"
