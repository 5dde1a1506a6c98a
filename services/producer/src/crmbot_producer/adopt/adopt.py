"""Checks a bot's file against the contract, and gives it its first identity."""

import sqlite3
from contextlib import closing
from typing import NamedTuple

from crmbot_core.contracts import Stream
from crmbot_core.errors import ConfigurationError, TransientError
from crmbot_producer.adopt.columns import absent, column_mismatches, declared_mismatches
from crmbot_producer.adopt.keys import has_identity, key_mismatches, notes, source_mismatches
from crmbot_producer.adopt.mismatch import Mismatch
from crmbot_producer.adopt.structure import (
    encoding_mismatches,
    found,
    id_mismatches,
    journal_mismatches,
)
from crmbot_producer.adopt.values import value_mismatches
from crmbot_producer.adopt.volatile import volatile_mismatches
from crmbot_producer.settings import FileSettings
from crmbot_producer.sqlite import BotFile
from crmbot_producer.sqlite_errors import reading
from crmbot_producer.sqlite_identity import make_source


class Report(NamedTuple):
    """The result of a check. Notes are not mismatches."""

    mismatches: list[Mismatch]
    notes: list[str]


class Adopted(NamedTuple):
    """A file's identity and the report of the check; the report is None if no check was made.

    `source_id` is None if the file has no identity: it has mismatches, or was only checked.
    """

    source_id: str | None
    is_new: bool
    report: Report | None


def adopt(settings: FileSettings, *, check_only: bool = False) -> Adopted:
    """Check a file and create its `source` table if there are no mismatches; an adopted file stays unchanged.

    Raises:
        ConfigurationError: the file does not exist, belongs to another MRF or stream, or cannot be written.
        TransientError: the file is busy.
        StoppedError: the file is damaged.
    """
    try:
        file = BotFile(settings.database, settings.contract, settings.mrf)
    except TransientError as error:
        raise ConfigurationError(str(error)) from error
    with closing(file), closing(_opened(settings)) as connection:
        with reading(settings.database):
            is_adopted = has_identity(connection, settings.stream, settings.mrf)
        source_id = file.identities()[-1].source_id if is_adopted else None
        if source_id and not check_only:
            return Adopted(source_id, is_new=False, report=None)
        with reading(settings.database):
            report = _check(file, connection, settings.contract)
    if source_id or check_only or report.mismatches:
        return Adopted(source_id, is_new=False, report=report)
    return Adopted(make_source(settings), is_new=True, report=report)


def _opened(settings: FileSettings) -> sqlite3.Connection:
    with reading(settings.database):
        return sqlite3.connect(f"{settings.database.absolute().as_uri()}?mode=ro", uri=True)


def _check(file: BotFile, connection: sqlite3.Connection, stream: Stream) -> Report:
    """Return the report; rows are checked only if no column is missing."""
    mismatches = [*journal_mismatches(connection), *source_mismatches(connection)]
    if wrong_encoding := encoding_mismatches(connection):
        return Report(mismatches + wrong_encoding, [])
    try:
        mapped = found(connection, stream)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_ERROR:
            raise
        broken = Mismatch(f"{stream.name}: the view cannot be read: {error}", "correct its SELECT")
        return Report([*mismatches, broken], [])
    if mapped is None:
        return Report([*mismatches, absent(stream)], [])
    if missing := column_mismatches(stream, mapped):
        return Report(mismatches + missing, [])
    mismatches += id_mismatches(connection, mapped) + key_mismatches(connection, mapped)
    mismatches += volatile_mismatches(connection, stream, mapped)
    values = value_mismatches(file, connection, stream, mapped)
    named = {mismatch.problem.split(":")[0] for mismatch in values}
    declared = [m for m in declared_mismatches(stream, mapped) if m.problem.split(":")[0] not in named]
    return Report([*mismatches, *values, *declared], notes(connection, mapped))
