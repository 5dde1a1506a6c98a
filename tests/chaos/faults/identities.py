"""A bot's file that got two identities before its producer first read it."""

from contextlib import closing
from uuid import UUID

from tests.chaos import bot_file
from tests.chaos.nemesis import Nemesis
from tests.chaos.world import stream_and_mrf

_ROWS = 40


def replace_a_bots_file_with_one_that_has_two_identities(nemesis: Nemesis) -> None:
    """As after a restore before anything was sent: the rows of both identities must be sent."""
    world, topic = nemesis.world, nemesis.topic()
    stream, mrf = stream_and_mrf(topic)
    file, producer = world.file(topic), world.producer(topic)
    (bot,) = world.services[f"bot-{mrf}"]
    world.services.stop(producer)
    world.services.stop(bot)
    world.losses[topic].files.append(bot_file.bot_rows(file, stream))
    bot_file.remove(file)
    world.services.start_again(bot)

    def wait_for_rows(number: int) -> int:
        nemesis.wait_until(
            lambda: bot_file.newest_id(file, stream) >= number, f"the new file of {topic} has rows"
        )
        return bot_file.newest_id(file, stream)

    newest = wait_for_rows(_ROWS)
    with closing(bot_file.connect(file)) as connection:
        source_id = str(UUID(int=nemesis.rng.getrandbits(128), version=4))
        connection.execute(
            "INSERT INTO source VALUES (?, ?, ?, 1, ?, NULL)", (source_id, stream, mrf, newest)
        )
    wait_for_rows(newest + _ROWS)
    world.services.start_again(producer)
    # Copies of the former file belong to another bot.
    world.copies[topic].clear()
    world.back_up(topic)
