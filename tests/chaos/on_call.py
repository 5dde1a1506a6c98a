"""The operator: reads the last line that a stopped service logged, and runs the commands in it, verbatim."""

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
from tests.chaos.supervisor import Exit
from tests.chaos.world import stream_and_mrf

# Parts of the lines that services log when they stop.
RESTORED = "was replaced or restored"
GAP = ", but the last one loaded is "
OVERTAKEN = "retention deleted the messages between"
SHORTER = "it lost its newest messages"
RECREATED = "the topic was deleted and recreated"
ADOPTED = "the topic was adopted"
STATE_LOST = "has no record of what was sent"
RECORDS_LOST = "the newest records were lost"
FENCED = "fenced by another producer"
STOP_REASONS = (RESTORED, GAP, OVERTAKEN, SHORTER, RECREATED, ADOPTED, STATE_LOST, RECORDS_LOST, FENCED)

_COMMAND = re.compile(r"crmbot-(?:producer|consumer)(?: [\w-]+)+")
_TRIES = 5
_NOT_YET = "not everything is loaded yet"
_NOTHING_WRONG = "nothing is wrong with"


@contextmanager
def on_call(nemesis: Nemesis, topics: Sequence[str], *reasons: str) -> Iterator["Operator"]:
    """Yield an operator of these topics; within the block their services may stop for these reasons."""
    with ExitStack() as stack:
        for topic in topics:
            stream, mrf = stream_and_mrf(topic)
            for role in ("producer", "consumer"):
                for reason in (*reasons, FENCED):
                    stack.enter_context(
                        nemesis.world.services.expecting_exit(f"{role}-{mrf}-{stream}", reason)
                    )
        yield Operator(nemesis, topics, reasons)


class Operator:
    """Operates the services of topics during a fault.

    Attributes:
        options: options by command that the services cannot know, and an operator adds.
        done: the names of commands that have succeeded.
    """

    def __init__(self, nemesis: Nemesis, topics: Sequence[str], reasons: Sequence[str]) -> None:
        self._nemesis = nemesis
        self._world = nemesis.world
        self._topics = topics
        self._reasons = reasons
        self._exits_before = len(nemesis.world.services.exits)
        self._acted_at = dict.fromkeys(topics, 0.0)
        self._tried: Counter[str] = Counter()
        self.options: dict[str, list[str]] = {}
        self.done: set[str] = set()

    def wait_for(self, topic: str, reason: str) -> None:
        """Wait until a service of the topic has stopped for this reason, without acting on it."""
        self._nemesis.wait_until(
            lambda: any(reason in exit_.line for exit_ in self._exits(topic)),
            f"a service of {topic} stops: {reason}",
        )

    def recover(self, what: str, is_over: Callable[[], bool] = lambda: True) -> None:
        """Run the commands that services name, until all current rows of the files are in the warehouse.

        Args:
            what: description for the finding of a timeout.
            is_over: a further condition.
        """
        rows = {topic: bot_rows(self._world.file(topic), stream_and_mrf(topic)[0]) for topic in self._topics}

        def has_recovered() -> bool:
            for topic in self._topics:
                self._handle_newest_exit(topic)
            return is_over() and all(self._has_arrived(topic, rows[topic]) for topic in self._topics)

        self._nemesis.wait_until(has_recovered, f"rows of {', '.join(self._topics)} arrive: {what}", 2.0)

    def wait_until_processed(self, what: str) -> None:
        """Recover, and wait until all current messages of the topics are covered by the ledger."""
        bootstrap = self._world.kafka.bootstrap_servers
        messages = {topic: committed_messages(topic, bootstrap) for topic in self._topics}

        def are_processed() -> bool:
            ends = {topic: self._world.warehouse.ledger_ends(topic) for topic in self._topics}
            return all(
                offset < ends[topic].get(partition, (0, 0))[1]
                for topic, found in messages.items()
                for partition, offset in found
            )

        self.recover(what, are_processed)

    def run(self, topic: str, *command: str) -> tuple[int, str]:
        """Run a command for a topic, and record its losses and resends for the checker.

        It is run again if a restarted producer fenced it.
        """
        for _ in range(_TRIES):
            code, line = self._world.services.run_unchecked(self._world.operator_environment(topic), *command)
            if FENCED not in line:
                break
        losses = self._world.losses[topic]
        # A producer that fenced an interrupted command may have completed what it had begun.
        if code == 0 or _NOTHING_WRONG in line:
            self.done.add(command[1])
        if command[1] == "resend" and code == 0:
            losses.resends += 1
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
        return code, line

    def _exits(self, topic: str) -> list[Exit]:
        stream, mrf = stream_and_mrf(topic)
        roles = (f"producer-{mrf}-{stream}-", f"consumer-{mrf}-{stream}-")
        stops = self._world.services.exits[self._exits_before :]
        return [exit_ for exit_ in stops if exit_.name.startswith(roles)]

    def _handle_newest_exit(self, topic: str) -> None:
        """Act on the topic's newest exit, if the service was started after the last action."""
        for exit_ in reversed(self._exits(topic)):
            if exit_.started_at > self._acted_at[topic] and any(
                reason in exit_.line for reason in self._reasons
            ):
                self._follow(topic, exit_.line)
                self._acted_at[topic] = time.monotonic()
                return

    def _follow(self, topic: str, line: str) -> None:
        """Run the commands of the first sentence that names any, or of the next one if those did not help."""
        alternatives = [_COMMAND.findall(sentence) for sentence in line.split(". ")]
        alternatives = [commands for commands in alternatives if commands]
        if not alternatives:
            return
        chosen = alternatives[min(self._tried[line], len(alternatives) - 1)]
        self._world.history.add("operator", topic=topic, reads=line, runs=chosen)
        for command in chosen:
            code, answer = self._run(topic, command)
            if code == 1 or _NOT_YET in answer:
                return  # tried again at the next exit
            if code != 0:
                break
        self._tried[line] += 1

    def _run(self, topic: str, command: str, *, follows_up: bool = True) -> tuple[int, str]:
        """Run a command. If it fails and names another one, run that one first, then this one again.

        If it succeeds and names another one, run that one afterwards.
        """
        code, line = self.run(topic, *command.split(), *self.options.get(command.split()[1], ()))
        others = [other for other in _COMMAND.findall(line) if other != command]
        if code == 1 or _NOT_YET in line or not others or not follows_up:
            return code, line
        if others[0].endswith("--partitions N"):
            number = self._partitions_of_newest_rows(topic)
            return self._run(topic, f"{command} --partitions {number}", follows_up=False)
        is_done = code == 0
        code, line = self._run(topic, others[0], follows_up=False)
        return self._run(topic, command, follows_up=False) if code == 0 and not is_done else (code, line)

    def _partitions_of_newest_rows(self, topic: str) -> int:
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
