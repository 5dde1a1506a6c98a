"""The result of the audit of one stream."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crmbot_producer.audit.compare import DIFFERENCES, MEANINGS, Difference, Kind
from crmbot_producer.audit.ledger import check_ledger
from crmbot_producer.audit.warehouse import AuditedTable

_EXAMPLES_OF_A_KIND = 5


@dataclass
class StreamAudit:
    """The result of the audit of one stream; clean means that file and warehouse hold the same rows.

    Attributes:
        stream: actions or nature.
        rows_in_file: rows of the file when the audit began; None if no file was read.
        rows_in_warehouse: rows of the table, of all sources.
        rejected: all dead letters of the stream.
        replayed: how many of these were replayed.
        foreign: how many of the others account for no row of the file.
        duplicates_dropped: duplicate messages that the consumer dropped.
        counts: rows by kind of difference, including those accounted for.
        examples: some differences of each kind.
        broken_promises: the problems found, empty if clean.
        notes: what an operator may want to know.
        seconds: how long the comparison took, without the wait.
    """

    stream: str
    rows_in_file: int | None = None
    rows_in_warehouse: int = 0
    rejected: int = 0
    replayed: int = 0
    foreign: int = 0
    duplicates_dropped: int = 0
    counts: dict[Kind, int] = field(default_factory=dict)
    examples: list[Difference] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether no promise is broken."""
        return not self.broken_promises

    def add(self, differences: Iterable[Difference]) -> None:
        """Count differences and keep some of each kind as examples."""
        for difference in differences:
            count = self.counts.get(difference.kind, 0) + 1
            self.counts[difference.kind] = count
            if difference.kind in DIFFERENCES and count <= _EXAMPLES_OF_A_KIND:
                self.examples.append(difference)


def check_table(result: StreamAudit, table: AuditedTable) -> None:
    """Add the findings of the table and the ledger, and list the broken promises."""
    result.add(table.events_twice())
    ledger = check_ledger(table, result.rows_in_warehouse)
    result.rejected, result.replayed = ledger.dead_letters, ledger.replayed
    result.duplicates_dropped = ledger.duplicates_dropped
    for kind, count in sorted(result.counts.items()):
        findings = result.broken_promises if kind in DIFFERENCES else result.notes
        findings.append(f"{count} rows {kind}: {MEANINGS[kind]}")
    result.broken_promises += ledger.broken_promises
    if disordered := table.disordered():
        result.broken_promises.append(f"{disordered} rows before an earlier row of their lead")
    result.notes += ledger.notes
