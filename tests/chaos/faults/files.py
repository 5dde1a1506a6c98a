"""The bot's file: locked, tidied, damaged, restored from an older copy, replaced by a new one."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tests.chaos.evidence import bot_rows
from tests.chaos.nemesis import Nemesis
from tests.chaos.services import Member
from tests.chaos.world import stream_and_mrf

_ROWS_AHEAD = 30
_BUSY_SECONDS = 20


def lock_a_bots_file(nemesis: Nemesis) -> None:
    with closing(sqlite3.connect(nemesis.world.file(nemesis.topic()), timeout=_BUSY_SECONDS)) as file:
        file.execute("BEGIN IMMEDIATE")
        nemesis.wait(2.0, 5.0)
        file.execute("ROLLBACK")


def checkpoint_and_vacuum_a_bots_file(nemesis: Nemesis) -> None:
    with closing(sqlite3.connect(nemesis.world.file(nemesis.topic()), timeout=_BUSY_SECONDS)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.OperationalError):  # busy: the bot and the producer are at work
            file.execute("VACUUM")


def restore_a_bots_file_from_an_older_copy(nemesis: Nemesis) -> None:
    """The bot may go on before the operator has given the restored file its new identity."""
    topic = nemesis.topic()
    copy = _copied(nemesis, topic)
    bot = _stopped_bot(nemesis, topic)
    _put_back(nemesis, topic, copy, bot)


def truncate_a_bots_file(nemesis: Nemesis) -> None:
    """The producer must notice the damage; then the file is restored from an older copy."""
    topic = nemesis.topic()
    file, role = nemesis.world.file(topic), _producer(topic)
    copy = _copied(nemesis, topic)
    bot = _stopped_bot(nemesis, topic)
    with closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with nemesis.world.crew.expecting(role, "is damaged") as has_stopped:
        os.truncate(file, file.stat().st_size // 2)
        # One that runs may have in memory all that it still reads.
        for producer in nemesis.world.crew[role]:
            nemesis.world.crew.restart(producer)
        nemesis.wait_until(has_stopped.is_set, f"the producer of {topic} stops: is damaged")
    _put_back(nemesis, topic, copy, bot)


def replace_a_bots_file_by_a_new_one(nemesis: Nemesis) -> None:
    """A bot that is set up anew: its file has another identity, so nobody has to be asked."""
    topic = nemesis.topic()
    file = nemesis.world.file(topic)
    bot = _stopped_bot(nemesis, topic)
    _remove(file)
    nemesis.wait(0.0, 2.0)
    nemesis.world.crew.rehire(bot)
    nemesis.wait_until(lambda: _newest(file, topic) > 0, f"the new file of {topic} has rows")


def _copied(nemesis: Nemesis, topic: str) -> Path:
    """Copy the file, and wait until rows after the copy are in the warehouse."""
    file = nemesis.world.file(topic)
    copy = file.with_suffix(".copy")
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(file, timeout=_BUSY_SECONDS)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        source_ids = target.execute("SELECT source_id FROM source ORDER BY starts_after").fetchall()
    (source_id,) = source_ids[-1]
    row_ahead = _newest(copy, topic) + _ROWS_AHEAD
    nemesis.wait_until(
        lambda: nemesis.world.is_loaded(topic, source_id, row_ahead), f"{topic} goes beyond its copy"
    )
    return copy


def _stopped_bot(nemesis: Nemesis, topic: str) -> Member:
    """End the bot for a while; note the rows of its file, which is about to go."""
    stream, mrf = stream_and_mrf(topic)
    (bot,) = nemesis.world.crew[f"bot-{mrf}"]
    nemesis.world.crew.retire(bot)
    rows = bot_rows(nemesis.world.file(topic), stream)
    nemesis.world.losses[topic].files.append(rows)
    return bot


def _put_back(nemesis: Nemesis, topic: str, copy: Path, bot: Member) -> None:
    file = nemesis.world.file(topic)
    newest = _newest(copy, topic)
    is_hasty = nemesis.rng.random() < 0.5
    with nemesis.world.crew.expecting(_producer(topic), "was replaced or restored") as has_stopped:
        _remove(file)
        copy.rename(file)
        if is_hasty:
            nemesis.world.crew.rehire(bot)
        nemesis.wait_until(has_stopped.is_set, f"the producer of {topic} stops: was replaced or restored")
        command = ("crmbot-generator", "new-source", "--database", str(file), "--after", str(newest))
        nemesis.world.crew.run({}, *command)
    nemesis.world.history.add("new source", topic=topic, after=newest, bot_went_on=is_hasty)
    if not is_hasty:
        nemesis.world.crew.rehire(bot)


def _producer(topic: str) -> str:
    stream, mrf = stream_and_mrf(topic)
    return f"producer-{mrf}-{stream}"


def _newest(file: Path, topic: str) -> int:
    """Return the greatest transaction_id of a file, 0 if it has no rows or is not made yet."""
    stream, _ = stream_and_mrf(topic)
    query = f"SELECT coalesce(max(transaction_id), 0) FROM {stream}"
    address = f"{file.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(address, uri=True)) as connection:
        return int(connection.execute(query).fetchone()[0])
    return 0


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
