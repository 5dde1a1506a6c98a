"""The services under torture, each kept running as Kubernetes would keep it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from devstack import launch as launch_script
from tests.chaos.history import History

_BIN = Path(sys.executable).parent
# A service ends with the thread that forked it, so one that lives as long as this process forks all.
_SPAWNER = ThreadPoolExecutor(1, thread_name_prefix="crew-spawner")
_RESTART_SECONDS = 0.5
_GRACE_SECONDS = 40
# In order; before Python was up; or killed before it was told.
_ENDED_WHEN_TOLD = (0, -signal.SIGTERM, -signal.SIGKILL)


@dataclass
class Member:
    """A service that is started again whenever it ends, until it is retired."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes]"
    started_at: float = field(default_factory=time.monotonic)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has just ended does not mind."""
        self.process.send_signal(number)


class Stop(NamedTuple):
    """A service that ended by itself, with its last words."""

    name: str
    started_at: float
    code: int
    words: str


@dataclass
class ExpectedStop:
    """A stop that a fault brings about, by the beginning of the member's name and its last words."""

    role: str
    words: str
    happened: threading.Event = field(default_factory=threading.Event)
    closed_at: float | None = None

    def excuses(self, member: "Member", words: str) -> bool:
        """Tell whether a member may stop with these words; one that started later may not."""
        is_in_time = self.closed_at is None or member.started_at < self.closed_at
        return is_in_time and member.name.startswith(self.role) and self.words in words


@dataclass
class Crew:
    """All members; one thread starts again what has ended."""

    folder: Path
    environment: Mapping[str, str]
    history: History
    members: list[Member] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    _expected: list[ExpectedStop] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _names: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._watch = threading.Thread(target=self._keep_running, name="crew", daemon=True)
        self._watch.start()

    def hire(self, name: str, environment: Mapping[str, str], *command: str) -> Member:
        """Start a service and keep it running."""
        self._names[name] = self._names.get(name, 0) + 1
        member_name = f"{name}-{self._names[name]}"
        log = self.folder / f"{member_name}.log"
        everything = {**self.environment, **environment, "PGAPPNAME": member_name}
        member = Member(member_name, command, everything, log, self._spawn(command, everything, log))
        with self._lock:
            self.members.append(member)
        return member

    def retire(self, member: Member) -> None:
        """End a service for good, with SIGTERM and within its grace."""
        with self._lock:
            self.members.remove(member)
        member.process.terminate()
        member.send(signal.SIGCONT)
        self._must_end(member)

    def rehire(self, member: Member) -> None:
        """Start a service again that was retired."""
        self._start(member)
        with self._lock:
            self.members.append(member)

    @contextmanager
    def expecting(self, role: str, words: str) -> Iterator[threading.Event]:
        """Yield an event that a stop for this reason sets; within the block such a stop is no refusal."""
        expected = ExpectedStop(role, words)
        with self._lock:
            self._expected.append(expected)
        yield expected.happened
        expected.closed_at = time.monotonic()

    def has_said(self, role: str, words: str) -> int:
        """Return how often members have logged something."""
        return sum(member.log.read_text(errors="replace").count(words) for member in self[role])

    def restart(self, member: Member) -> None:
        """End a service with SIGTERM and start it again, as a rolling update does."""
        with self._lock:
            member.process.terminate()
            member.send(signal.SIGCONT)
            self._must_end(member)
            self._start(member)

    def run(self, environment: Mapping[str, str], *command: str) -> str:
        """Run a command that has to succeed, and return its output."""
        process = self._started(environment, command)
        output, errors = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {errors}")
        return output

    def try_to_run(self, environment: Mapping[str, str], *command: str) -> tuple[int, str]:
        """Run a command that may fail, and return its exit code and its last words."""
        process = self._started(environment, command)
        output, errors = process.communicate()
        words = " ".join([*output.splitlines()[-1:], *errors.splitlines()[-1:]])
        self.history.add("ran", command=" ".join(command), code=process.returncode, words=words)
        return process.returncode, words

    def run_at_once(self, environment: Mapping[str, str], *commands: tuple[str, ...]) -> list[int]:
        """Run commands at once, and return the exit codes."""
        processes = [self._started(environment, command) for command in commands]
        for process in processes:
            process.communicate()
        return [process.returncode for process in processes]

    def dismiss(self) -> None:
        """End all services."""
        self._is_over.set()
        self._watch.join()
        for member in list(self.members):
            self.retire(member)

    def __getitem__(self, role: str) -> list[Member]:
        """Return the members whose name begins with a role, such as "consumer" or "producer-mrf1"."""
        with self._lock:
            return [member for member in self.members if member.name.startswith(role)]

    def _keep_running(self) -> None:
        while not self._is_over.wait(_RESTART_SECONDS):
            with self._lock:
                for member in self.members:
                    code = member.process.poll()
                    if code is None:
                        continue
                    self.history.add("ended", service=member.name, code=code)
                    if code != -signal.SIGKILL:
                        self._judge(member, code)
                    self._start(member)

    def _judge(self, member: Member, code: int) -> None:
        words = _last_line(member.log)
        self.stops.append(Stop(member.name, member.started_at, code, words))
        expected = [stop for stop in self._expected if stop.excuses(member, words)]
        for stop in expected:
            stop.happened.set()
        if not expected:
            self.refusals.append(f"{member.name} ended with {code}: {words}")

    def _must_end(self, member: Member) -> None:
        started = time.monotonic()
        try:
            code = member.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            member.send(signal.SIGUSR1)  # its log then shows where it hangs
            with suppress(subprocess.TimeoutExpired):
                member.process.wait(2)
            member.process.kill()
            self.refusals.append(f"{member.name} did not end within {_GRACE_SECONDS} s of SIGTERM")
        else:
            if code not in _ENDED_WHEN_TOLD:
                self._judge(member, code)
        self.history.add("retired", service=member.name, seconds=round(time.monotonic() - started, 1))

    def _started(self, environment: Mapping[str, str], command: tuple[str, ...]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [_BIN / command[0], *command[1:]],
            env={**os.environ, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _start(self, member: Member) -> None:
        member.started_at = time.monotonic()
        member.process = self._spawn(member.command, member.environment, member.log)

    def _spawn(
        self, command: tuple[str, ...], environment: Mapping[str, str], log: Path
    ) -> "subprocess.Popen[bytes]":
        launch = [sys.executable, "-I", "-S", launch_script.__file__]
        launch += map(str, (os.getpid(), int(signal.SIGKILL), os.geteuid(), os.getegid()))
        with log.open("ab") as output:
            return _SPAWNER.submit(
                subprocess.Popen[bytes],
                [*launch, str(_BIN / command[0]), *command[1:]],
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
            ).result()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else ""
