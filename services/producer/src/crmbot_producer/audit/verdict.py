"""The audit of one MRF: do the promises hold?"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from crmbot_core.contracts import STREAMS, Stream
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_core.settings import WarehouseSettings
from crmbot_producer.audit.compare import Difference, Kind, differences
from crmbot_producer.audit.warehouse import AuditedTable, snapshot
from crmbot_producer.sqlite import BotFile, Identity

_EXAMPLES = 20
_WAIT_SECONDS = 0.5


@dataclass
class StreamAudit:
    """What the audit of one stream found. Only `rejected` differences leave the promises whole."""

    stream: str
    rows_in_file: int = 0
    rows_in_warehouse: int = 0
    rejected: int = 0
    duplicates_dropped: int = 0
    counts: dict[Kind, int] = field(default_factory=dict)
    examples: list[Difference] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not self.broken_promises


def audit(settings: WarehouseSettings, data_dir: Path, mrf: str, wait_seconds: float) -> list[StreamAudit]:
    """Compare both files of an MRF with its tables, up to the rows that the files have now.

    Args:
        settings: the warehouse.
        data_dir: folder of the bot's files.
        mrf: name of the MRF.
        wait_seconds: how long to wait for rows that are still on their way.

    Raises:
        ConfigurationError: a file is missing, or another bot's.
        TransientError: a file or the warehouse cannot be read now.
    """
    for stream in STREAMS.values():
        try:
            (data_dir / f"{stream.name}.db").stat()
        except OSError as error:
            raise ConfigurationError(
                f"DATA_DIR {data_dir} has no {stream.name}.db: {error.strerror}"
            ) from error
    return [
        _audit_stream(settings, data_dir / f"{stream.name}.db", stream, mrf, wait_seconds)
        for stream in STREAMS.values()
    ]


def _audit_stream(
    settings: WarehouseSettings, path: Path, stream: Stream, mrf: str, wait_seconds: float
) -> StreamAudit:
    result = StreamAudit(stream.name)
    with closing(BotFile(path, stream, mrf)) as file:
        file.identities()  # refuses another stream's or MRF's file
        up_to = file.newest_id()
        _wait_for_rows(settings, stream, mrf, file, up_to, wait_seconds)
        started = time.monotonic()
        with snapshot(settings) as connection:
            table = AuditedTable(connection, stream, mrf)
            _compare(result, file, table, up_to)
            _check_table(result, table)
        result.seconds = time.monotonic() - started
    return result


def _compare(result: StreamAudit, file: BotFile, table: AuditedTable, up_to: int) -> None:
    rejected_ids = table.rejected_ids()
    by_source = table.rows_by_source()
    result.rows_in_file = file.count(up_to)
    result.rows_in_warehouse = sum(by_source.values())
    for identity in file.identities():
        by_source.pop(identity.source_id, None)
        if lost := table.rows_lost_by_restoring(identity):
            result.notes.append(
                f"{lost} rows that the file lost when it was restored: source {identity.source_id}"
            )
        for difference in differences(
            identity.source_id,
            file.digests(identity, up_to),
            table.digests(identity, min(up_to, identity.ends_at)),
            rejected_ids.get(identity.source_id, set()),
        ):
            result.counts[difference.kind] = result.counts.get(difference.kind, 0) + 1
            if len(result.examples) < _EXAMPLES:
                result.examples.append(difference)
    if by_source:
        result.notes.append(
            f"{sum(by_source.values())} rows of other files: source {', '.join(sorted(by_source))}"
        )


def _check_table(result: StreamAudit, table: AuditedTable) -> None:
    loaded, result.rejected, result.duplicates_dropped = table.rows_in_ledger()
    rows = result.rows_in_warehouse
    broken = [f"{count} rows {kind}" for kind, count in sorted(result.counts.items()) if kind != "rejected"]
    if links := table.broken_links():
        broken.append(f"{links} breaks in the ledger's chain")
    if loaded + table.replayed() != rows:
        broken.append(
            f"the ledger tells of {loaded} rows and {table.replayed()} replayed, the table has {rows}"
        )
    if disordered := table.disordered():
        broken.append(f"{disordered} rows before an earlier row of their lead")
    result.broken_promises = broken


def _wait_for_rows(
    settings: WarehouseSettings, stream: Stream, mrf: str, file: BotFile, up_to: int, seconds: float
) -> None:
    """Return when every row of the file is loaded or rejected, or when the time is over."""
    rows, identities = file.count(up_to), file.identities()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with snapshot(settings) as connection:
                table = AuditedTable(connection, stream, mrf)
                # The ledger is quick to ask, but it also counts what the file lost when it was restored.
                if sum(table.rows_in_ledger()) >= rows and _arrived(table, identities) >= rows:
                    return
        except TransientError:
            if time.monotonic() + _WAIT_SECONDS >= deadline:
                raise
        time.sleep(_WAIT_SECONDS)


def _arrived(table: AuditedTable, identities: Sequence[Identity]) -> int:
    """Return how many of the file's rows are loaded or rejected."""
    by_source = table.rows_by_source()
    loaded = sum(by_source.get(identity.source_id, 0) for identity in identities)
    lost = sum(table.rows_lost_by_restoring(identity) for identity in identities)
    _, rejected, _ = table.rows_in_ledger()
    return loaded - lost + rejected - table.replayed()
