"""The audit of one MRF: is each row of its files in the warehouse once or a dead letter, and no other row?"""

import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from crmbot_core import ledger
from crmbot_core.contracts import STREAMS, Stream
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_core.settings import WarehouseSettings
from crmbot_producer.audit.compare import DeadLetter, differences
from crmbot_producer.audit.dead_letters import is_of_row
from crmbot_producer.audit.result import StreamAudit, check_table
from crmbot_producer.audit.warehouse import AuditedTable, audit_snapshot
from crmbot_producer.sqlite import BotFile, Identity, RowDigest

_WAIT_SECONDS = 0.5


def audit(
    settings: WarehouseSettings,
    data_dir: Path,
    mrf: str,
    wait_seconds: float,
    former_sources: Collection[str] = (),
) -> list[StreamAudit]:
    """Compare both files of an MRF with its tables, row by row and both ways.

    Args:
        settings: the warehouse.
        data_dir: folder of the bot's files.
        mrf: name of the MRF.
        wait_seconds: how long to wait for rows in transit.
        former_sources: source_ids that may have rows in the warehouse though they are not in the files.

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
        _audit_stream(settings, data_dir / f"{stream.name}.db", stream, mrf, wait_seconds, former_sources)
        for stream in STREAMS.values()
    ]


def _audit_stream(
    settings: WarehouseSettings,
    path: Path,
    stream: Stream,
    mrf: str,
    wait_seconds: float,
    former_sources: Collection[str],
) -> StreamAudit:
    """Check that the warehouse has each row the file has now, and none that the file lacks afterwards."""
    result = StreamAudit(stream.name)
    with closing(BotFile(path, stream, mrf)) as file:
        file.identities()  # rejects another stream's or MRF's file
        up_to = file.newest_id()
        _wait_for_rows(settings, stream, mrf, file, up_to, wait_seconds)
        started = time.monotonic()
        with audit_snapshot(settings) as connection:
            table = AuditedTable(connection, stream, mrf)
            _compare(result, file, table, up_to, former_sources)
            check_table(result, table)
            result.foreign = result.rejected - result.replayed - result.counts.get("rejected", 0)
        result.seconds = time.monotonic() - started
    return result


def _compare(
    result: StreamAudit, file: BotFile, table: AuditedTable, up_to: int, former_sources: Collection[str]
) -> None:
    by_source = table.rows_by_source()  # starts the snapshot, so the file is read after it
    identities = file.identities()
    result.rows_in_file = file.count(up_to)
    result.rows_in_warehouse = sum(by_source.values())
    if never_sent := file.count(identities[0].starts_after):
        result.broken_promises.append(
            f"{never_sent} rows of the file that are never sent: their transaction_id is not above "
            f"{identities[0].starts_after}, where its first identity begins"
        )
    rejected = ledger.foreign_sources(table.connection, table.topic)
    for identity in identities:
        if identity.source_id in rejected:
            result.broken_promises.append(
                f"source {identity.source_id} is the file's, and an operator has rejected it: "
                f"crmbot-consumer accept-source --stream {result.stream} --source-id {identity.source_id}"
            )
        by_source.pop(identity.source_id, None)
        _compare_source(result, file, table, identity, up_to)
    for source_id, rows in sorted(by_source.items()):
        if source_id in former_sources:
            result.notes.append(f"{rows} rows of source {source_id}, which was named as a former one")
        else:
            result.broken_promises.append(
                f"{rows} rows of source {source_id}, which the file does not know; if it is a former file of "
                f"this bot: --former-source {source_id}"
            )


def _compare_source(
    result: StreamAudit, file: BotFile, table: AuditedTable, identity: Identity, up_to: int
) -> None:
    def is_own(letter: DeadLetter, row: RowDigest) -> bool:
        return is_of_row(letter, row, identity.source_id, lambda id_: file.row_json(identity, id_))

    rows, letters = table.digests(identity.source_id), table.dead_letters(identity.source_id)
    with closing(rows), closing(letters):
        result.add(differences(identity, file.digests(identity), rows, letters, is_own, up_to))


def _wait_for_rows(
    settings: WarehouseSettings, stream: Stream, mrf: str, file: BotFile, up_to: int, seconds: float
) -> None:
    """Return when every row of the file is loaded or rejected, or the time is up."""
    identities = file.identities()
    rows = file.count(up_to) - file.count(identities[0].starts_after)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with audit_snapshot(settings) as connection:
                table = AuditedTable(connection, stream, mrf)
                arrived = (
                    table.arrived(identity.source_id, identity.starts_after, min(identity.ends_at, up_to))
                    for identity in identities
                )
                if sum(arrived) >= rows:
                    return
        except TransientError:
            if time.monotonic() + _WAIT_SECONDS >= deadline:
                raise
        time.sleep(_WAIT_SECONDS)
