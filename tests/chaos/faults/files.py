"""The bot's file: locked, tidied, damaged, restored from an older copy, replaced by a new one."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tests.chaos import bot_file
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_call import RESTORED, Operator, on_call
from tests.chaos.services import Member
from tests.chaos.world import stream_and_mrf

_ROWS_AHEAD = 30


def lock_a_bots_file(nemesis: Nemesis) -> None:
    with closing(bot_file.opened(nemesis.world.file(nemesis.topic()))) as file:
        file.execute("BEGIN IMMEDIATE")
        nemesis.wait(2.0, 5.0)
        file.execute("ROLLBACK")


def checkpoint_and_vacuum_a_bots_file(nemesis: Nemesis) -> None:
    with closing(bot_file.opened(nemesis.world.file(nemesis.topic()))) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.OperationalError):  # busy: the bot and the producer are at work
            file.execute("VACUUM")


def restore_a_bots_file_from_an_older_copy(nemesis: Nemesis) -> None:
    """A copy of a moment ago; the bot may go on before the operator has given the file its new identity."""
    topic = nemesis.topic()
    _put_back(nemesis, topic, _fresh_copy(nemesis, topic), _stopped_bot(nemesis, topic))


def restore_a_bots_file_twice(nemesis: Nemesis) -> None:
    """A copy of any age, perhaps from before the present identity; then another one, right away."""
    topic = nemesis.topic()
    nemesis.world.keep_copy(topic)
    for _ in range(2):
        copy = nemesis.rng.choice(nemesis.world.copies[topic])
        _await_rows_of_the_present_identity(nemesis, topic, copy)
        shutil.copy(copy, taken := copy.with_suffix(".taken"))
        _put_back(nemesis, topic, taken, _stopped_bot(nemesis, topic))


def restore_a_bots_file_from_a_copy_without_rows(nemesis: Nemesis) -> None:
    """The copy is from before the bot's first row."""
    topic = nemesis.topic()
    copy = _fresh_copy(nemesis, topic)
    bot_file.empty(copy, stream_and_mrf(topic)[0])
    _put_back(nemesis, topic, copy, _stopped_bot(nemesis, topic))


def truncate_a_bots_file(nemesis: Nemesis) -> None:
    """The producer must notice the damage; then the file is restored from an older copy."""
    topic = nemesis.topic()
    file = nemesis.world.file(topic)
    copy = _fresh_copy(nemesis, topic)
    bot = _stopped_bot(nemesis, topic)
    with closing(bot_file.opened(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    producer = nemesis.world.producer(topic)
    with nemesis.world.crew.expecting(producer.name, "is damaged") as has_stopped:
        os.truncate(file, file.stat().st_size // 2)
        # One that runs may have in memory all that it still reads.
        nemesis.world.crew.restart(producer)
        nemesis.wait_until(has_stopped.is_set, f"the producer of {topic} stops: is damaged")
        _put_back(nemesis, topic, copy, bot)


def replace_a_bots_file_with_a_new_one(nemesis: Nemesis) -> None:
    """A bot that is set up anew: its file has another identity, so nobody has to be asked."""
    replace(nemesis, nemesis.topic())


def replace(nemesis: Nemesis, topic: str) -> None:
    """Set the bot of a topic up anew."""
    stream, _ = stream_and_mrf(topic)
    file = nemesis.world.file(topic)
    bot = _stopped_bot(nemesis, topic)
    bot_file.remove(file)
    nemesis.wait(0.0, 2.0)
    nemesis.world.crew.rehire(bot)
    nemesis.wait_until(lambda: bot_file.newest_id(file, stream) > 0, f"the new file of {topic} has rows")
    # Copies of the former bot's file would be another bot's.
    nemesis.world.copies[topic].clear()
    nemesis.world.keep_copy(topic)


def _fresh_copy(nemesis: Nemesis, topic: str) -> Path:
    """Copy the file, and wait until rows after the copy are in the warehouse."""
    file = nemesis.world.file(topic)
    copy = file.with_suffix(".copy")
    bot_file.copy_file(file, copy)
    present = bot_file.sources(copy)[-1]
    ahead = max(bot_file.newest_id(copy, stream_and_mrf(topic)[0]), present.starts_after) + _ROWS_AHEAD
    nemesis.wait_until(
        lambda: nemesis.world.warehouse.is_loaded(topic, present.source_id, ahead),
        f"{topic} goes beyond its copy",
    )
    return copy


def _await_rows_of_the_present_identity(nemesis: Nemesis, topic: str, copy: Path) -> None:
    """A copy that lacks nothing that was sent is as good as the file: nobody would have to be asked."""
    stream, _ = stream_and_mrf(topic)
    present = bot_file.sources(nemesis.world.file(topic))[-1]
    is_older = bot_file.sources(copy)[-1].source_id != present.source_id
    newest = present.starts_after if is_older else bot_file.newest_id(copy, stream)
    nemesis.wait_until(
        lambda: nemesis.world.warehouse.is_loaded(topic, present.source_id, newest + 1),
        f"{topic} goes beyond its copy",
    )


def _stopped_bot(nemesis: Nemesis, topic: str) -> Member:
    """End the bot for a while; note the rows of its file, which is about to go."""
    stream, mrf = stream_and_mrf(topic)
    (bot,) = nemesis.world.crew[f"bot-{mrf}"]
    nemesis.world.crew.retire(bot)
    rows = bot_file.bot_rows(nemesis.world.file(topic), stream)
    nemesis.world.losses[topic].files.append(rows)
    return bot


def _put_back(nemesis: Nemesis, topic: str, copy: Path, bot: Member) -> None:
    """Restore the file, and let the operator do what the producer asks for, after a mistake."""
    world = nemesis.world
    stream, _ = stream_and_mrf(topic)
    file = world.file(topic)
    is_hasty = nemesis.rng.random() < 0.5
    before = bot_file.sources(copy)
    former = _sources_since(nemesis, topic, copy) if nemesis.rng.random() < 0.5 else []
    with on_call(nemesis, [topic], RESTORED) as operator:
        operator.options["new-source"] = [word for source in former for word in ("--former-source", source)]
        bot_file.remove(file)
        copy.rename(file)
        shared = _shared(nemesis, topic)
        if is_hasty:
            world.crew.rehire(bot)
            nemesis.wait_until(lambda: bot_file.newest_id(file, stream) > shared, "the bot goes on")
        operator.wait_for(topic, RESTORED)
        _mistake(nemesis, operator, topic, shared)
        operator.heal("new-source", lambda: "new-source" in operator.done)
    if len(bot_file.sources(file)) != len(before) + len(former) + 1:
        world.find(f"{topic}: new-source has not added the sources {former} and its own")
    found = bot_file.sources(file)[-1].starts_after
    world.history.add("new source", topic=topic, after=found, bot_went_on=is_hasty)
    if found != shared:
        world.find(f"{topic}: the new source starts after {found}, the last row it shares is {shared}")
    if not is_hasty:
        world.crew.rehire(bot)


def _sources_since(nemesis: Nemesis, topic: str, copy: Path) -> list[str]:
    """Return the sources of the file that is gone that its copy does not know, and that have sent rows."""
    known = {source.source_id for source in bot_file.sources(copy)}
    gone = dict.fromkeys(row["source_id"] for row in nemesis.world.losses[topic].files[-1])
    return [source for source in gone if source not in known and nemesis.world.sent_ids(topic, source)]


def _shared(nemesis: Nemesis, topic: str) -> int:
    """Return the last row of a restored file's newest identity that is in the warehouse, or will be.

    All of its rows up to the newest one that was sent.
    """
    stream, _ = stream_and_mrf(topic)
    file = nemesis.world.file(topic)
    present = bot_file.sources(file)[-1]
    sent = nemesis.world.sent_ids(topic, present.source_id)
    rows = [row["transaction_id"] for row in bot_file.bot_rows(file, stream)]
    return max(
        (row for row in rows if row > present.starts_after and row in sent), default=present.starts_after
    )


def _mistake(nemesis: Nemesis, operator: Operator, topic: str, shared: int) -> None:
    """Name a wrong row first: that must be refused, with nothing changed."""
    world = nemesis.world
    stream, _ = stream_and_mrf(topic)
    rows_off = nemesis.rng.choice((-200, -20, -1, 1, 20, 200))
    wrong = shared + rows_off if shared + rows_off >= 0 else shared + abs(rows_off)
    command = ("crmbot-producer", "new-source", "--stream", stream, "--after", str(wrong))
    before = bot_file.sources(world.file(topic))
    answers: list[tuple[int, str]] = []

    def is_answered() -> bool:
        answers.append(operator.run(topic, *command))
        code, words = answers[-1]
        return code != 1 and "not everything is loaded yet" not in words

    nemesis.wait_until(is_answered, f"{topic}: new-source says what it thinks of a wrong --after")
    code, words = answers[-1]
    if code != 2 or str(shared) not in words or bot_file.sources(world.file(topic)) != before:
        world.find(f"{topic}: new-source --after {wrong} instead of {shared} ended with {code}: {words}")
