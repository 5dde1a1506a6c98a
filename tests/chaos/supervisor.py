"""The services under test, restarted when they exit, as Kubernetes would do."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from devstack.services import Service, run_command
from tests.chaos.history import History

_RESTART_SECONDS = 0.5
_GRACE_SECONDS = 40
# A clean shutdown; SIGTERM before Python handled it; a SIGKILL that came first.
_GRACEFUL_CODES = (0, -signal.SIGTERM, -signal.SIGKILL)


class Exit(NamedTuple):
    """An exit that was not requested, with the last line of the log."""

    name: str
    started_at: float
    code: int
    line: str


@dataclass
class ExpectedExit:
    """An exit that a fault causes: a prefix of the service's name, and a part of the last line of its log."""

    role: str
    line: str
    happened: threading.Event = field(default_factory=threading.Event)
    closed_at: float | None = None

    def matches(self, service: Service, line: str) -> bool:
        """Return whether a service may exit with this line; not if it was started after the fault."""
        is_in_time = self.closed_at is None or service.started_at < self.closed_at
        return is_in_time and service.name.startswith(self.role) and self.line in line


@dataclass
class Supervisor:
    """Runs all services; one thread restarts those that have exited."""

    folder: Path
    environment: Mapping[str, str]
    history: History
    running: list[Service] = field(default_factory=list)
    unexpected_exits: list[str] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    _expected: list[ExpectedExit] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _is_closing: threading.Event = field(default_factory=threading.Event)
    _names: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._watch = threading.Thread(target=self._keep_running, name="services-watch", daemon=True)
        self._watch.start()

    def start(self, name: str, environment: Mapping[str, str], *command: str) -> Service:
        """Start a service, which is restarted whenever it exits."""
        self._names[name] = self._names.get(name, 0) + 1
        service_name = f"{name}-{self._names[name]}"
        everything = {**self.environment, **environment, "PGAPPNAME": service_name}
        service = Service.start(service_name, everything, self.folder / f"{service_name}.log", *command)
        with self._lock:
            self.running.append(service)
        return service

    def stop(self, service: Service) -> None:
        """Stop a service with SIGTERM; it must exit within its grace period."""
        with self._lock:
            self.running.remove(service)
        service.process.terminate()
        service.send(signal.SIGCONT)
        self._await_exit(service)

    def start_again(self, service: Service) -> None:
        """Start a stopped service again."""
        service.start_again()
        with self._lock:
            self.running.append(service)

    @contextmanager
    def expecting_exit(self, role: str, line: str) -> Iterator[threading.Event]:
        """Yield an event that is set by an exit with this line; within the block such exits are expected."""
        expected = ExpectedExit(role, line)
        with self._lock:
            self._expected.append(expected)
        yield expected.happened
        expected.closed_at = time.monotonic()

    def count_logged(self, role: str, text: str) -> int:
        """Return how often a text occurs in the logs of services."""
        return sum(service.log.read_text(errors="replace").count(text) for service in self[role])

    def restart(self, service: Service) -> None:
        """Stop a service with SIGTERM and start it again, as a rolling update does."""
        with self._lock:
            service.process.terminate()
            service.send(signal.SIGCONT)
            self._await_exit(service)
            service.start_again()

    def run(self, environment: Mapping[str, str], *command: str) -> str:
        """Run a command that must succeed, and return its output."""
        done = run_command({**self.environment, **environment}, *command)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr}")
        return done.stdout

    def run_unchecked(self, environment: Mapping[str, str], *command: str) -> tuple[int, str]:
        """Run a command that may fail, and return its exit code and its last line."""
        done = run_command({**self.environment, **environment}, *command)
        line = " ".join([*done.stdout.splitlines()[-1:], *done.stderr.splitlines()[-1:]])
        self.history.add("ran", command=" ".join(command), code=done.returncode, line=line)
        return done.returncode, line

    def run_concurrently(self, environment: Mapping[str, str], *commands: tuple[str, ...]) -> list[int]:
        """Run commands concurrently, and return their exit codes."""
        run = partial(run_command, {**self.environment, **environment})
        with ThreadPoolExecutor(len(commands)) as pool:
            return [done.returncode for done in pool.map(lambda command: run(*command), commands)]

    def stop_all(self) -> None:
        """Stop all services."""
        self._is_closing.set()
        self._watch.join()
        for service in list(self.running):
            self.stop(service)

    def __getitem__(self, role: str) -> list[Service]:
        """Return the services whose name begins with a role, such as "consumer" or "producer-mrf1"."""
        with self._lock:
            return [service for service in self.running if service.name.startswith(role)]

    def _keep_running(self) -> None:
        while not self._is_closing.wait(_RESTART_SECONDS):
            with self._lock:
                for service in self.running:
                    code = service.process.poll()
                    if code is None:
                        continue
                    self.history.add("exited", service=service.name, code=code)
                    if code != -signal.SIGKILL:
                        self._record_exit(service, code)
                    service.start_again()

    def _record_exit(self, service: Service, code: int) -> None:
        line = service.last_line
        self.exits.append(Exit(service.name, service.started_at, code, line))
        expected = [exit_ for exit_ in self._expected if exit_.matches(service, line)]
        for exit_ in expected:
            exit_.happened.set()
        if not expected:
            self.unexpected_exits.append(f"{service.name} exited with {code}: {line}")

    def _await_exit(self, service: Service) -> None:
        started = time.monotonic()
        try:
            code = service.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            service.send(signal.SIGUSR1)  # makes it log its stacks
            with suppress(subprocess.TimeoutExpired):
                service.process.wait(2)
            service.process.kill()
            self.unexpected_exits.append(f"{service.name} did not exit within {_GRACE_SECONDS} s of SIGTERM")
        else:
            if code not in _GRACEFUL_CODES:
                self._record_exit(service, code)
        self.history.add("stopped", service=service.name, seconds=round(time.monotonic() - started, 1))
