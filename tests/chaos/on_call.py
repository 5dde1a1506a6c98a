"""The operator: reads the last words of services that have stopped, and does what they say, word for word."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from zlib import crc32

from tests.chaos.bot_file import BotRow, bot_rows, sources
from tests.chaos.losses import Gap
from tests.chaos.messages import committed_messages
from tests.chaos.nemesis import Nemesis
from tests.chaos.services import Stop
from tests.chaos.world import stream_and_mrf

# What services say when they stop.
RESTORED = "was replaced or restored"
GAP = ", but the last one loaded is "
OVERTAKEN = "retention deleted the messages between"
SHORTER = "it lost its newest messages"
RECREATED = "the topic was deleted and recreated"
STATE_LOST = "has no record of what was sent"
RECORDS_LOST = "the newest records were lost"
FENCED = "fenced by another producer"
SIGNS = (RESTORED, GAP, OVERTAKEN, SHORTER, RECREATED, STATE_LOST, RECORDS_LOST, FENCED)

_COMMAND = re.compile(r"crmbot-(?:producer|consumer)(?: [\w-]+)+")
_TRIES = 5
_NOT_YET = "not everything is loaded yet"


@contextmanager
def on_call(nemesis: Nemesis, topics: Sequence[str], *signs: str) -> Iterator["Operator"]:
    """Yield an operator of topics; within the block their services may stop with these words."""
    with ExitStack() as stack:
        for topic in topics:
            stream, mrf = stream_and_mrf(topic)
            for role in ("producer", "consumer"):
                for sign in (*signs, FENCED):
                    stack.enter_context(nemesis.world.crew.expecting(f"{role}-{mrf}-{stream}", sign))
        yield Operator(nemesis, topics, signs)


class Operator:
    """Takes care of topics while a fault is at work on them.

    Attributes:
        options: what an operator adds to a command, by its name, since only he knows it.
        done: the names of commands that have succeeded.
    """

    def __init__(self, nemesis: Nemesis, topics: Sequence[str], signs: Sequence[str]) -> None:
        self._nemesis = nemesis
        self._world = nemesis.world
        self._topics = topics
        self._signs = signs
        self._stops_before = len(nemesis.world.crew.stops)
        self._acted_at = dict.fromkeys(topics, 0.0)
        self._tried: Counter[str] = Counter()
        self.options: dict[str, list[str]] = {}
        self.done: set[str] = set()

    def wait_for(self, topic: str, sign: str) -> None:
        """Wait until a service of the topic has stopped with these words, and do nothing yet."""
        self._nemesis.wait_until(
            lambda: any(sign in stop.words for stop in self._stops(topic)),
            f"a service of {topic} stops: {sign}",
        )

    def heal(self, what: str, is_over: Callable[[], bool] = lambda: True) -> None:
        """Do what the services say until all rows that the files have now are in the warehouse.

        Args:
            what: for the history.
            is_over: what has to be true besides.
        """
        rows = {topic: bot_rows(self._world.file(topic), stream_and_mrf(topic)[0]) for topic in self._topics}

        def is_healed() -> bool:
            for topic in self._topics:
                self._look(topic)
            return is_over() and all(self._has_arrived(topic, rows[topic]) for topic in self._topics)

        self._nemesis.wait_until(is_healed, f"rows of {', '.join(self._topics)} arrive: {what}", 2.0)

    def see_decided(self, what: str) -> None:
        """Wait until all messages that are in Kafka now are decided about, and heal."""
        bootstrap = self._world.kafka.bootstrap_servers
        messages = {topic: committed_messages(topic, bootstrap) for topic in self._topics}

        def are_decided() -> bool:
            ends = {topic: self._world.warehouse.ledger_ends(topic) for topic in self._topics}
            return all(
                offset < ends[topic].get(partition, (0, 0))[1]
                for topic, found in messages.items()
                for partition, offset in found
            )

        self.heal(what, are_decided)

    def run(self, topic: str, *command: str) -> tuple[int, str]:
        """Run a command about a topic, and note what the checker has to know.

        A producer that is kept running fences the command now and then, which has to be run again.
        """
        for _ in range(_TRIES):
            code, words = self._world.crew.try_to_run(self._world.operator(topic), *command)
            if FENCED not in words:
                break
        losses = self._world.losses[topic]
        if code == 0:
            self.done.add(command[1])
        if command[1] == "resend" and code == 0:
            losses.sent_again += 1
        if "--source-id" in command and code == 0:
            options = dict(zip(command[2::2], command[3::2], strict=True))
            losses.gaps.add(
                Gap(
                    int(options["--partition"]),
                    options["--source-id"],
                    int(options["--after-id"]),
                    int(options["--up-to-id"]),
                )
            )
        return code, words

    def _stops(self, topic: str) -> list[Stop]:
        stream, mrf = stream_and_mrf(topic)
        roles = (f"producer-{mrf}-{stream}-", f"consumer-{mrf}-{stream}-")
        stops = self._world.crew.stops[self._stops_before :]
        return [stop for stop in stops if stop.name.startswith(roles)]

    def _look(self, topic: str) -> None:
        """Do what the newest stop says that is not older than what was done last."""
        for stop in reversed(self._stops(topic)):
            if stop.started_at > self._acted_at[topic] and any(sign in stop.words for sign in self._signs):
                self._obey(topic, stop.words)
                self._acted_at[topic] = time.monotonic()
                return

    def _obey(self, topic: str, words: str) -> None:
        """Run the commands that are named; the next ones if those were in vain."""
        alternatives = [_COMMAND.findall(sentence) for sentence in words.split(". ")]
        alternatives = [commands for commands in alternatives if commands]
        if not alternatives:
            return
        chosen = alternatives[min(self._tried[words], len(alternatives) - 1)]
        self._world.history.add("operator", topic=topic, reads=words, runs=chosen)
        for command in chosen:
            code, answer = self._run(topic, command)
            if code == 1 or _NOT_YET in answer:
                return  # later
            if code != 0:
                break
        self._tried[words] += 1

    def _run(self, topic: str, command: str, *, is_told: bool = True) -> tuple[int, str]:
        """Run a command; where it names another one that has to come first, that one, then it again.

        Or the other one behind it, if it names one though all went well.
        """
        code, words = self.run(topic, *command.split(), *self.options.get(command.split()[1], ()))
        others = [other for other in _COMMAND.findall(words) if other != command]
        if code == 1 or _NOT_YET in words or not others or not is_told:
            return code, words
        if others[0].endswith("--partitions N"):
            return self._run(topic, f"{command} --partitions {self._spread(topic)}", is_told=False)
        is_done = code == 0
        code, words = self._run(topic, others[0], is_told=False)
        return self._run(topic, command, is_told=False) if code == 0 and not is_done else (code, words)

    def _spread(self, topic: str) -> int:
        """Return the number of partitions that the newest rows of the file were spread over."""
        source_id = sources(self._world.file(topic))[-1].source_id
        leads = self._world.warehouse.newest_leads(topic, source_id)
        fits = [
            number
            for number in range(1, self._world.partition_count(topic) + 1)
            if all(crc32(lead.encode()) % number == partition for lead, partition in leads)
        ]
        return fits[-1]

    def _has_arrived(self, topic: str, rows: list[BotRow]) -> bool:
        events, links = self._world.warehouse.arrived(topic)
        return all(
            row["event_id"] in events or (row["source_id"], row["transaction_id"]) in links for row in rows
        )
