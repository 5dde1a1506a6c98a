"""Gives a file that was restored from a backup a new identity, from the last row on that it shares."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_core.warehouse import snapshot
from crmbot_producer.kafka import PageSender
from crmbot_producer.ledger import check_all_loaded, checked_positions
from crmbot_producer.settings import RecoverySettings
from crmbot_producer.shared_rows import compare, warehouse_rows
from crmbot_producer.source_offset import SourceOffset
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.sqlite_identity import Plan, add_identity


class NewSource(NamedTuple):
    """The identity that was added.

    Attributes:
        source_id: the new identity.
        starts_after: the last row of the one before it.
        unknown: sources of the stream that were sent and that the file does not know.
        needs_resend: whether Kafka lost records of the file, or rows of it that were sent.
    """

    source_id: str
    starts_after: int
    unknown: list[str]
    needs_resend: bool


def new_source(
    settings: RecoverySettings,
    kafka: Mapping[str, str],
    expected: int | None = None,
    former: Sequence[str] = (),
) -> NewSource:
    """Add an identity to the file. Safe to run again after a failure: it then finishes what was begun.

    A running producer is fenced, which ends with 3. The file is written first: a producer that starts then
    finds a record beyond the end of its identity, and stops.

    Args:
        settings: the file and the warehouse.
        kafka: the client's settings.
        expected: the last row that the operator believes to be shared.
        former: sources that were identities of the file in the time that it has lost.

    Raises:
        ConfigurationError: nothing is wrong with the file, not everything is loaded yet, another row is the
            last shared one, or the file cannot be written; nothing is changed.
        StoppedError: another producer fenced this command, or the topic is not the one that was loaded.
        TransientError: the file, the broker or the warehouse is away.
    """
    with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
        file.identities()  # refuses another bot's file before a producer is fenced
        with closing(PageSender(kafka, settings.mrf, settings.stream, settings.topic)) as sender:
            recorded = sender.offsets()
            identities = file.identities()
            needs_resend = False
            if to_close(identities, recorded):
                _check_expected(expected, identities[-1].starts_after)
            else:
                plan, needs_resend = _plan(settings, kafka, file, recorded, former, sender.topic_partitions)
                _check_expected(expected, plan.starts_after)
                add_identity(settings, plan)
                identities = file.identities()
            close_ended(file, sender, identities, recorded)
    present = identities[-1]
    unknown = sorted(recorded.keys() - {identity.source_id for identity in identities})
    return NewSource(present.source_id, present.starts_after, unknown, needs_resend)


def _plan(
    settings: RecoverySettings,
    kafka: Mapping[str, str],
    file: BotFile,
    recorded: Mapping[str, SourceOffset],
    former: Sequence[str],
    partitions: int,
) -> tuple[Plan, bool]:
    """Find where the present identity ends, and whether `resend` has to follow.

    Raises what `new_source` raises.
    """
    identities = file.identities()
    present = identities[-1]
    with snapshot(settings, is_read_only=True) as connection:
        positions = checked_positions(connection, kafka, settings.topic, partitions)
        shared = compare(
            file.event_ids(present), warehouse_rows(connection, settings.contract, settings.mrf, present)
        )
    loaded: dict[str, int] = {}
    for position in positions.values():
        for source_id, last_id in position.last_ids.items():
            loaded[source_id] = max(last_id, loaded.get(source_id, 0))
    record = recorded.get(present.source_id)
    sent_up_to = max(loaded.get(present.source_id, 0), _newest(record) if record else 0)
    if (
        shared.conflict is None
        and (sent_up_to <= present.starts_after or file.event_id(sent_up_to) is not None)
        and (record is None or (record.sent_up_to is None and _is_there(file, record)))
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
    known = {identity.source_id for identity in identities}
    for source_id in former:
        if source_id in known or source_id not in recorded:
            raise ConfigurationError(
                f"--former-source {source_id}: nothing was sent under it, or the file has it already"
            )
    plan = Plan(
        present, shared.newest, sent_up_to, {source_id: _newest(recorded[source_id]) for source_id in former}
    )
    has_lost_records = any(source_id in loaded and source_id not in recorded for source_id in known)
    # The old identity sends nothing any more that could show a gap at the end of its chains.
    return plan, has_lost_records or shared.complete != shared.newest


def _newest(record: SourceOffset) -> int:
    """Return the newest row that was sent by what a record says."""
    return max(record.transaction_id, record.sent_up_to or 0, *record.last_ids.values())


def _is_there(file: BotFile, record: SourceOffset) -> bool:
    return record.event_id is None or file.event_id(record.transaction_id) == record.event_id


def _check_expected(expected: int | None, found: int) -> None:
    if expected not in (None, found):
        raise ConfigurationError(
            f"--after {expected}: the last row that the file and the warehouse share is {found}; nothing is "
            "changed. Leave --after out, or give that row"
        )


def to_close(identities: Sequence[Identity], recorded: Mapping[str, SourceOffset]) -> list[Identity]:
    """Return the identities that the file has ended and whose records do not say so yet."""
    return [
        identity
        for identity in identities[:-1]
        if identity.lost_up_to is not None
        and (record := recorded.get(identity.source_id)) is not None
        and (record.sent_up_to is None or not _is_within(record.transaction_id, identity))
    ]


def closed(record: SourceOffset, identity: Identity, event_id: str | None) -> SourceOffset:
    """Return the record of an identity that the file has ended.

    Args:
        record: what it was.
        identity: the identity, which has `lost_up_to`.
        event_id: event_id of the row at its end.
    """
    # An identity without rows begins and ends at a row of another one, above or below what was sent under it.
    has_rows = identity.ends_at > identity.starts_after
    if not has_rows or not _is_within(record.transaction_id, identity):
        record = replace(record, transaction_id=identity.ends_at, event_id=event_id if has_rows else None)
    return replace(record, sent_up_to=identity.lost_up_to)


def _is_within(transaction_id: int, identity: Identity) -> bool:
    return identity.starts_after <= transaction_id <= identity.ends_at


def close_ended(
    file: BotFile, sender: PageSender, identities: Sequence[Identity], recorded: Mapping[str, SourceOffset]
) -> None:
    """Commit the records of the identities that the file has ended."""
    records = [
        closed(recorded[identity.source_id], identity, file.event_id(identity.ends_at))
        for identity in to_close(identities, recorded)
    ]
    try:
        sender.commit_offsets(records)
    except StoppedError as error:
        raise StoppedError(
            f"{error}; the file has its new identity, but the one before it is not closed: stop the "
            "producer, then run this again"
        ) from error
