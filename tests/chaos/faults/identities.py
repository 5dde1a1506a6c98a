"""A bot's file that had two identities before its producer saw it for the first time."""

from contextlib import closing
from uuid import UUID

from tests.chaos import bot_file
from tests.chaos.nemesis import Nemesis
from tests.chaos.world import stream_and_mrf

_ROWS = 40


def replace_a_bots_file_with_one_that_has_two_identities(nemesis: Nemesis) -> None:
    """As after a restore before anything was sent: rows of both identities wait, and all of them are due."""
    world, topic = nemesis.world, nemesis.topic()
    stream, mrf = stream_and_mrf(topic)
    file, producer = world.file(topic), world.producer(topic)
    (bot,) = world.crew[f"bot-{mrf}"]
    world.crew.retire(producer)
    world.crew.retire(bot)
    world.losses[topic].files.append(bot_file.bot_rows(file, stream))
    bot_file.remove(file)
    world.crew.rehire(bot)

    def await_rows(number: int) -> int:
        nemesis.wait_until(
            lambda: bot_file.newest_id(file, stream) >= number, f"the new file of {topic} has rows"
        )
        return bot_file.newest_id(file, stream)

    newest = await_rows(_ROWS)
    with closing(bot_file.opened(file)) as connection:
        source_id = str(UUID(int=nemesis.rng.getrandbits(128), version=4))
        connection.execute(
            "INSERT INTO source VALUES (?, ?, ?, 1, ?, NULL)", (source_id, stream, mrf, newest)
        )
    await_rows(newest + _ROWS)
    world.crew.rehire(producer)
    # Copies of the former bot's file would be another bot's.
    world.copies[topic].clear()
    world.keep_copy(topic)
