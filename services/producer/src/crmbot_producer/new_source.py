"""Gives a file restored from a backup a new identity, after the last row shared with the warehouse."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_core.warehouse import Connection, snapshot
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import check_all_loaded, checked_positions
from crmbot_producer.resend import resend
from crmbot_producer.settings import RecoverySettings
from crmbot_producer.shared_rows import SharedRows, compare, warehouse_rows
from crmbot_producer.source_offset import SourceOffset, to_close
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.sqlite_identity import Former, Plan, add_identity


class NewSource(NamedTuple):
    """The identity that was added.

    Attributes:
        source_id: the new identity.
        starts_after: the last row of the previous one.
        unknown: sources of the stream that were sent but are not in the file.
    """

    source_id: str
    starts_after: int
    unknown: list[str]


def new_source(
    settings: RecoverySettings,
    kafka: Mapping[str, str],
    expected: int | None = None,
    former: Sequence[str] = (),
) -> NewSource:
    """Add an identity to the file. Safe to run again after a failure: it then completes the change.

    A running producer is fenced and exits with 3. The file is written first: a producer that starts then
    finds a record beyond the end of its identity and stops. The records are rebuilt as by `resend`, because
    an ended identity sends no further row that would reveal a gap.

    Args:
        settings: the file and the warehouse.
        kafka: the client's settings.
        expected: the row that the operator believes to be the last shared one.
        former: identities that the file got after the backup and lost in the restore.

    Raises:
        ConfigurationError: nothing is wrong with the file, not everything is loaded yet, another row is the
            last shared one, or the file cannot be written; nothing is changed.
        StoppedError: another producer fenced this command, or the topic is not the one that was loaded.
        TransientError: the file, the broker or the warehouse is unavailable.
    """
    with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
        file.identities()  # rejects another bot's file before a producer is fenced
        with closing(PageSender(kafka, settings.mrf, settings.stream, settings.topic)) as sender:
            recorded = sender.offsets()
            identities = file.identities()
            if to_close(identities, recorded):
                _check_expected(expected, identities[-1].starts_after)
            else:
                plan = _plan(settings, kafka, file, recorded, former, sender.topic_partitions)
                _check_expected(expected, plan.starts_after)
                add_identity(settings, plan)
                identities = file.identities()
    resend(settings, kafka)
    present = identities[-1]
    unknown = sorted(recorded.keys() - {identity.source_id for identity in identities})
    return NewSource(present.source_id, present.starts_after, unknown)


def _plan(
    settings: RecoverySettings,
    kafka: Mapping[str, str],
    file: BotFile,
    recorded: Mapping[str, SourceOffset],
    former: Sequence[str],
    partitions: int,
) -> Plan:
    """Find where the present identity ends, and which identities the file had after it.

    The copy may have been taken while the rows of such an identity were in the file, and before its
    new-source: under another identity they would be sent twice.

    Raises the errors of `new_source`.
    """
    identities = file.identities()
    present = identities[-1]
    known = {identity.source_id for identity in identities}
    with snapshot(settings, is_read_only=True) as connection:
        positions = checked_positions(connection, kafka, settings.topic, partitions)
        shared = _shared(settings, file, connection, present)
        ends_at = shared.newest[0] if shared.newest else present.starts_after
        between = {}
        for source_id in recorded.keys() - known:
            candidate = Identity(source_id, ends_at, present.ends_at)
            if row := _shared(settings, file, connection, candidate).newest:
                between[source_id] = Former(recorded[source_id].newest_id, row)
    loaded: dict[str, int] = {}
    for position in positions.values():
        for source_id, last_id in position.last_ids.items():
            loaded[source_id] = max(last_id, loaded.get(source_id, 0))
    record = recorded.get(present.source_id)
    sent_up_to = max(loaded.get(present.source_id, 0), record.newest_id if record else 0)
    if (
        shared.conflict is None
        and (sent_up_to <= present.starts_after or file.event_id(sent_up_to) is not None)
        and (record is None or (record.sent_up_to is None and _has_sent_rows(file, record)))
    ):
        raise ConfigurationError(
            f"nothing is wrong with {file.path}: it has all rows that were sent; nothing is changed. Start "
            "the producer; what it says when it stops names the command that helps"
        )
    if shared.behind is not None:
        raise StoppedError(
            f"{file.path} is not a restored copy: row {shared.conflict} is another one than was sent, but "
            f"row {shared.behind[0]} behind it is the same, and would be loaded twice under a new identity. "
            "Nothing is changed; see which of the two was altered: crmbot-producer audit"
        )
    check_all_loaded(kafka, settings.topic, partitions, positions)
    for source_id in former:
        if source_id in known or source_id not in recorded:
            raise ConfigurationError(
                f"--former-source {source_id}: nothing was sent under it, or the file has it already"
            )
    in_order = sorted(between.items(), key=lambda item: item[1].shared or (0, ""))
    empty = {source: Former(recorded[source].newest_id) for source in former if source not in between}
    return Plan(present, shared.newest, sent_up_to, empty | dict(in_order))


def _shared(
    settings: RecoverySettings, file: BotFile, connection: Connection, identity: Identity
) -> SharedRows:
    return compare(
        file.event_ids(identity), warehouse_rows(connection, settings.contract, settings.mrf, identity)
    )


def _has_sent_rows(file: BotFile, record: SourceOffset) -> bool:
    return all(file.event_id(row) == event_id for row, event_id in record.sent_rows)


def _check_expected(expected: int | None, found: int) -> None:
    if expected not in (None, found):
        raise ConfigurationError(
            f"--after {expected}: the last row that the file and the warehouse share is {found}; nothing is "
            "changed. Leave --after out, or give that row"
        )
