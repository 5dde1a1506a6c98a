"""The bot's file: locked, vacuumed, damaged, restored from an older copy, replaced by a new one."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from devstack.services import Service
from tests.chaos import bot_file
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_call import RESTORED, Operator, on_call
from tests.chaos.world import stream_and_mrf

_ROWS_AHEAD = 30


def lock_a_bots_file(nemesis: Nemesis) -> None:
    with closing(bot_file.connect(nemesis.world.file(nemesis.topic()))) as file:
        file.execute("BEGIN IMMEDIATE")
        nemesis.wait(2.0, 5.0)
        file.execute("ROLLBACK")


def checkpoint_and_vacuum_a_bots_file(nemesis: Nemesis) -> None:
    with closing(bot_file.connect(nemesis.world.file(nemesis.topic()))) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.OperationalError):  # busy: the bot and the producer use it
            file.execute("VACUUM")


def restore_a_bots_file_from_an_older_copy(nemesis: Nemesis) -> None:
    """A recent copy; the bot may continue before the operator has given the file a new identity."""
    topic = nemesis.topic()
    _restore(nemesis, topic, _fresh_copy(nemesis, topic), _stop_bot(nemesis, topic))


def restore_a_bots_file_twice(nemesis: Nemesis) -> None:
    """A copy of any age, possibly from before the current identity; then another one at once."""
    topic = nemesis.topic()
    nemesis.world.back_up(topic)
    for _ in range(2):
        copy = nemesis.rng.choice(nemesis.world.copies[topic])
        _wait_for_rows_of_the_current_identity(nemesis, topic, copy)
        shutil.copy(copy, taken := copy.with_suffix(".taken"))
        _restore(nemesis, topic, taken, _stop_bot(nemesis, topic))


def restore_a_bots_file_from_a_copy_without_rows(nemesis: Nemesis) -> None:
    """The copy is from before the bot's first row."""
    topic = nemesis.topic()
    copy = _fresh_copy(nemesis, topic)
    bot_file.empty(copy, stream_and_mrf(topic)[0])
    _restore(nemesis, topic, copy, _stop_bot(nemesis, topic))


def truncate_a_bots_file(nemesis: Nemesis) -> None:
    """The producer must detect the damage; then the file is restored from an older copy."""
    topic = nemesis.topic()
    file = nemesis.world.file(topic)
    copy = _fresh_copy(nemesis, topic)
    bot = _stop_bot(nemesis, topic)
    with closing(bot_file.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    producer = nemesis.world.producer(topic)
    with nemesis.world.services.expecting_exit(producer.name, "is damaged") as has_stopped:
        os.truncate(file, file.stat().st_size // 2)
        # A running producer may have everything it reads in its page cache.
        nemesis.world.services.restart(producer)
        nemesis.wait_until(has_stopped.is_set, f"the producer of {topic} stops: is damaged")
        _restore(nemesis, topic, copy, bot)


def replace_a_bots_file_with_a_new_one(nemesis: Nemesis) -> None:
    """A newly set up bot: its file has another identity, so no operator is needed."""
    replace(nemesis, nemesis.topic())


def replace(nemesis: Nemesis, topic: str) -> None:
    """Replace the bot's file of a topic with a new one."""
    stream, _ = stream_and_mrf(topic)
    file = nemesis.world.file(topic)
    bot = _stop_bot(nemesis, topic)
    bot_file.remove(file)
    nemesis.wait(0.0, 2.0)
    nemesis.world.services.start_again(bot)
    nemesis.wait_until(lambda: bot_file.newest_id(file, stream) > 0, f"the new file of {topic} has rows")
    # Copies of the former file belong to another bot.
    nemesis.world.copies[topic].clear()
    nemesis.world.back_up(topic)


def _fresh_copy(nemesis: Nemesis, topic: str) -> Path:
    """Copy the file, and wait until rows newer than the copy are in the warehouse."""
    file = nemesis.world.file(topic)
    copy = file.with_suffix(".copy")
    bot_file.copy_file(file, copy)
    current = bot_file.sources(copy)[-1]
    ahead = max(bot_file.newest_id(copy, stream_and_mrf(topic)[0]), current.starts_after) + _ROWS_AHEAD
    nemesis.wait_until(
        lambda: nemesis.world.warehouse.is_loaded(topic, current.source_id, ahead),
        f"{topic} goes beyond its copy",
    )
    return copy


def _wait_for_rows_of_the_current_identity(nemesis: Nemesis, topic: str, copy: Path) -> None:
    """Wait until the copy lacks rows that were sent: otherwise restoring it would need no operator."""
    stream, _ = stream_and_mrf(topic)
    current = bot_file.sources(nemesis.world.file(topic))[-1]
    is_older = bot_file.sources(copy)[-1].source_id != current.source_id
    newest = current.starts_after if is_older else bot_file.newest_id(copy, stream)
    nemesis.wait_until(
        lambda: nemesis.world.warehouse.is_loaded(topic, current.source_id, newest + 1),
        f"{topic} goes beyond its copy",
    )


def _stop_bot(nemesis: Nemesis, topic: str) -> Service:
    """Stop the bot, and record the rows of its file, which is about to be replaced."""
    stream, mrf = stream_and_mrf(topic)
    (bot,) = nemesis.world.services[f"bot-{mrf}"]
    nemesis.world.services.stop(bot)
    rows = bot_file.bot_rows(nemesis.world.file(topic), stream)
    nemesis.world.losses[topic].files.append(rows)
    return bot


def _restore(nemesis: Nemesis, topic: str, copy: Path, bot: Service) -> None:
    """Restore the file; the operator first makes a mistake, then runs the command that the producer names."""
    world = nemesis.world
    stream, _ = stream_and_mrf(topic)
    file = world.file(topic)
    bot_continues = nemesis.rng.random() < 0.5
    before = bot_file.sources(copy)
    former = _sources_since(nemesis, topic, copy) if nemesis.rng.random() < 0.5 else []
    with on_call(nemesis, [topic], RESTORED) as operator:
        operator.options["new-source"] = [word for source in former for word in ("--former-source", source)]
        bot_file.remove(file)
        copy.rename(file)
        shared = _last_shared_row(nemesis, topic)
        if bot_continues:
            world.services.start_again(bot)
            nemesis.wait_until(lambda: bot_file.newest_id(file, stream) > shared, "the bot continues")
        operator.wait_for(topic, RESTORED)
        _try_wrong_row(nemesis, operator, topic, shared)
        operator.recover("new-source", lambda: "new-source" in operator.done)
    if len(bot_file.sources(file)) != len(before) + len(former) + 1:
        world.add_finding(f"{topic}: new-source has not added the sources {former} and its own")
    found = bot_file.sources(file)[-1].starts_after
    world.history.add("new source", topic=topic, after=found, bot_continued=bot_continues)
    if found != shared:
        world.add_finding(f"{topic}: the new source starts after {found}, the last row it shares is {shared}")
    if not bot_continues:
        world.services.start_again(bot)


def _sources_since(nemesis: Nemesis, topic: str, copy: Path) -> list[str]:
    """Return the sources of the replaced file that have sent rows and that its copy does not have."""
    known = {source.source_id for source in bot_file.sources(copy)}
    replaced = dict.fromkeys(row["source_id"] for row in nemesis.world.losses[topic].files[-1])
    return [source for source in replaced if source not in known and nemesis.world.sent_ids(topic, source)]


def _last_shared_row(nemesis: Nemesis, topic: str) -> int:
    """Return the transaction_id of the newest row that a restored file's newest identity has sent."""
    stream, _ = stream_and_mrf(topic)
    file = nemesis.world.file(topic)
    current = bot_file.sources(file)[-1]
    sent = nemesis.world.sent_ids(topic, current.source_id)
    rows = [row["transaction_id"] for row in bot_file.bot_rows(file, stream)]
    return max(
        (row for row in rows if row > current.starts_after and row in sent), default=current.starts_after
    )


def _try_wrong_row(nemesis: Nemesis, operator: Operator, topic: str, shared: int) -> None:
    """Run `new-source` with a wrong row, which must be refused and change nothing."""
    world = nemesis.world
    stream, _ = stream_and_mrf(topic)
    rows_off = nemesis.rng.choice((-200, -20, -1, 1, 20, 200))
    wrong = shared + rows_off if shared + rows_off >= 0 else shared + abs(rows_off)
    command = ("crmbot-producer", "new-source", "--stream", stream, "--after", str(wrong))
    before = bot_file.sources(world.file(topic))
    answers: list[tuple[int, str]] = []

    def is_answered() -> bool:
        answers.append(operator.run(topic, *command))
        code, line = answers[-1]
        return code != 1 and "not everything is loaded yet" not in line

    nemesis.wait_until(is_answered, f"{topic}: new-source answers to a wrong --after")
    code, line = answers[-1]
    if code != 2 or str(shared) not in line or bot_file.sources(world.file(topic)) != before:
        world.add_finding(
            f"{topic}: new-source --after {wrong} instead of {shared} exited with {code}: {line}"
        )
