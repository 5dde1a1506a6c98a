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
    topic, file = nemesis.topic(), nemesis.world.file
    copy = _copied(nemesis, topic)
    bot = _stopped_bot(nemesis, topic)
    with closing(sqlite3.connect(file(topic), timeout=_BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(file(topic), file(topic).stat().st_size // 2)
    _await_stop(nemesis, topic, "is damaged")
    _put_back(nemesis, topic, copy, bot)


def replace_a_bots_file_by_a_new_one(nemesis: Nemesis) -> None:
    """A bot that is set up anew: its file has another identity, so nobody has to be asked."""
    topic = nemesis.topic()
    bot = _stopped_bot(nemesis, topic)
    _remove(nemesis.world.file(topic))
    nemesis.wait(0.0, 2.0)
    nemesis.world.crew.rehire(bot)


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
        newest = _newest(target, topic)
        nemesis.wait_until(
            lambda: nemesis.world.is_loaded(topic, newest + _ROWS_AHEAD), f"{topic} goes beyond its copy"
        )
    return copy


def _stopped_bot(nemesis: Nemesis, topic: str) -> Member:
    """End the bot for a while; note the rows of its file, which is about to go."""
    stream, mrf = stream_and_mrf(topic)
    (bot,) = nemesis.world.crew[f"bot-{mrf}"]
    nemesis.world.crew.retire(bot)
    rows = bot_rows(nemesis.world.file(topic), stream)
    nemesis.world.losses[topic].bot.update({row["event_id"]: row for row in rows})
    return bot


def _put_back(nemesis: Nemesis, topic: str, copy: Path, bot: Member) -> None:
    file = nemesis.world.file(topic)
    with closing(sqlite3.connect(copy)) as connection:
        newest = _newest(connection, topic)
    _remove(file)
    copy.rename(file)
    is_hasty = nemesis.rng.random() < 0.5
    if is_hasty:
        nemesis.world.crew.rehire(bot)
    _await_stop(nemesis, topic, "was replaced or restored")
    nemesis.world.crew.run(
        {}, "crmbot-generator", "new-source", "--database", str(file), "--after", str(newest)
    )
    nemesis.world.history.add("new source", topic=topic, after=newest, bot_went_on=is_hasty)
    if not is_hasty:
        nemesis.world.crew.rehire(bot)


def _await_stop(nemesis: Nemesis, topic: str, reason: str) -> None:
    stream, mrf = stream_and_mrf(topic)
    stopped = nemesis.world.crew.expect_stop(f"producer-{mrf}-{stream}", reason)
    nemesis.wait_until(stopped.is_set, f"the producer of {topic} stops: {reason}")


def _newest(connection: sqlite3.Connection, topic: str) -> int:
    stream, _ = stream_and_mrf(topic)
    return int(connection.execute(f"SELECT coalesce(max(transaction_id), 0) FROM {stream}").fetchone()[0])


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
