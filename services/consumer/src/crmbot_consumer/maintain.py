"""Maintenance by the tables' owner: fold the ledger, analyze and reorganize the tables."""

from collections.abc import Iterator

from psycopg import sql

from crmbot_consumer.fold import fold
from crmbot_consumer.poison import WINDOW
from crmbot_consumer.reorganize import reorganize
from crmbot_consumer.settings import MaintainSettings
from crmbot_core import ledger
from crmbot_core.contracts import STREAMS
from crmbot_core.errors import ConfigurationError, StoppedError
from crmbot_core.ledger import Break
from crmbot_core.warehouse import Connection, connect, translated_errors

_LEDGER = "crm_bot_ledger"
_COMMON = (_LEDGER, "crm_bot_rejects", "crm_bot_replays")
_LOCK_SECONDS = 30.0
_OWNER = """
    SELECT r.rolname FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
    WHERE c.oid = %s::regclass AND NOT pg_has_role(c.relowner, 'USAGE')
"""
_BATCHES = "SELECT count(*) FROM crm_bot_ledger WHERE topic = %s"


def maintain(settings: MaintainSettings, *, also_reorganize: bool = False) -> Iterator[str]:
    """Fold the ledger of an MRF and analyze its tables; yield one line per completed step.

    Args:
        settings: MRF and warehouse; the role must own the tables.
        also_reorganize: also rewrite the streams' tables.

    Raises:
        ConfigurationError: the role does not own the tables, or they are missing; nothing is changed.
        StoppedError: the ledger of some partitions has breaks; these are not folded, the rest is done.
        TransientError: the warehouse is unavailable or too busy; run it again for the rest.
    """
    streams = {stream.topic(settings.mrf): stream.table(settings.mrf) for stream in STREAMS.values()}
    tables = (*streams.values(), *_COMMON)
    found: list[str] = []
    work = f"maintain {settings.mrf}"
    with translated_errors(), connect(settings, work, _LOCK_SECONDS) as connection:
        _check_owner(connection, tables)
        for topic in streams:
            breaks = ledger.breaks(connection, topic)
            before = _count(connection, topic)
            # Keeps the batches from which the reject limits are computed.
            fold(connection, topic, settings.fold_days, WINDOW, {each.partition for each in breaks})
            yield f"{topic}: {_count(connection, topic)} batches in the ledger, {before} before"
            found += [_description(topic, each) for each in breaks]
        if also_reorganize:
            for table in streams.values():
                reorganize(connection, table)
                yield f"{table}: reorganized"
        for table in tables:
            # Folding leaves dead rows, whose space is reused only after VACUUM.
            command = "VACUUM ANALYZE {}" if table == _LEDGER else "ANALYZE {}"
            connection.execute(sql.SQL(command).format(sql.Identifier(table)))
            yield f"{table}: analyzed"
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise StoppedError(
            f"{found[0]}{more}: the ledger was changed by hand, or partially restored; such partitions are "
            "not folded. 'The audit is not clean' in docs/operations.md"
        )


def _check_owner(connection: Connection, tables: tuple[str, ...]) -> None:
    for table in tables:
        for (owner,) in connection.execute(_OWNER, (table,)):
            raise ConfigurationError(
                f"{table} belongs to the role {owner}: run this as that role, or as a member of it"
            )


def _count(connection: Connection, topic: str) -> int:
    ((count,),) = connection.execute(_BATCHES, (topic,))
    return int(count)


def _description(topic: str, broken: Break) -> str:
    place = f"{topic} partition {broken.partition}, epoch {broken.log_epoch}"
    before = (
        "has none before it"
        if broken.previous_end is None
        else f"follows one that ends at {broken.previous_end}"
    )
    return f"{place}: the batch at offset {broken.start_offset} {before}"
