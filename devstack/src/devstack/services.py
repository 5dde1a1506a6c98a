"""The services as processes, started as in their images: by a command and its environment."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from devstack.server import DevstackError
from devstack.spawn import spawn

_BIN = Path(sys.executable).parent
_SETTINGS = ("KAFKA_", "WAREHOUSE_")  # of the user's environment: not for services on other servers
_PORT_SECONDS = 60
_STOP_SECONDS = 40
_TAIL_LINES = 20


@dataclass
class Service:
    """A service that runs as a process and logs to a file.

    Attributes:
        name: for messages.
        command: crmbot-producer, run, and so on.
        environment: its settings.
        log: its stdout and stderr, of all processes that `start_again` has started.
        process: the present one, or the last one.
        started_at: of the process, by time.monotonic.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes]"
    started_at: float

    @classmethod
    def start(cls, name: str, environment: Mapping[str, str], log: Path, *command: str) -> Self:
        """Start a service; it is killed when this process ends."""
        log.write_bytes(b"")
        return cls(name, command, environment, log, _spawn(command, environment, log), time.monotonic())

    def start_again(self) -> None:
        """Start the service again after it has exited."""
        self.started_at = time.monotonic()
        self.process = _spawn(self.command, self.environment, self.log)

    @property
    def is_running(self) -> bool:
        """Whether the process has not exited."""
        return self.process.poll() is None

    def send(self, signal: Signals) -> None:
        """Send a signal; it is ignored if the process has exited."""
        self.process.send_signal(signal)

    def terminate(self, seconds: float = 30) -> int:
        """Send SIGTERM, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: the process has not exited in time.
        """
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill the process, as a crash does."""
        self.process.kill()
        self.process.wait()

    def exit_code(self, seconds: float = 60) -> int:
        """Wait until the process has exited, and return its code.

        Raises:
            subprocess.TimeoutExpired: it has not exited in time.
        """
        return self.process.wait(seconds)

    @property
    def lines(self) -> list[str]:
        """The lines of the log."""
        return self.log.read_text(errors="replace").splitlines()

    @property
    def last_line(self) -> str:
        """The last line of the log, empty without one."""
        return "".join(self.lines[-1:])

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log's entries."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def logged(self, text: str) -> bool:
        """Return whether a text is in the log."""
        return text in self.log.read_text(errors="replace")

    @property
    def failure(self) -> str:
        """What is known about the end of the process: its exit code and the last lines of the log."""
        state = "is running" if self.is_running else f"exited with code {self.process.returncode}"
        return "\n".join([f"{self.name} {state}; the end of {self.log}:", *self.lines[-_TAIL_LINES:]])

    def port(self) -> int:
        """Wait until the service has started, and return its HTTP port.

        Raises:
            DevstackError: the process has exited, or has no port after a minute.
        """
        deadline = time.monotonic() + _PORT_SECONDS
        while (port := self._logged_port()) is None:
            if not self.is_running or time.monotonic() > deadline:
                raise DevstackError(f"no HTTP port: {self.failure}")
            time.sleep(0.1)
        return port

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a path on the service's HTTP port; waits for the port.

        Raises:
            DevstackError: there is no port; see `port`.
            URLError: the service does not respond.
        """
        try:
            with urlopen(f"http://127.0.0.1:{self.port()}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples; 0 if the service does not respond yet, or no longer."""
        if self._logged_port() is None:
            return 0.0
        try:
            _, text = self.get("/metrics")
        except (URLError, TimeoutError, ConnectionError):
            return 0.0
        families = text_string_to_metric_families(text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def _logged_port(self) -> int | None:
        ports = [int(event["http_port"]) for event in self.events if "http_port" in event]
        return ports[-1] if ports else None


@dataclass
class Services:
    """Services that are started one by one and stopped together.

    Attributes:
        folder: of the logs.
        environment: settings that all have in common.
        running: in the order of their start.
    """

    folder: Path
    environment: dict[str, str]
    running: list[Service] = field(default_factory=list)

    def start(self, environment: dict[str, str], *command: str) -> Service:
        """Start a service, which runs until `stop`."""
        words = (environment.get("MRF", ""), *command[:2], environment.get("STREAM", ""))
        name = "-".join(filter(None, words))
        log = self.folder / f"{name}-{len(self.running)}.log"
        self.running.append(Service.start(name, self.environment | environment, log, *command))
        return self.running[-1]

    def run(self, environment: dict[str, str], *command: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command and return its output.

        Raises:
            DevstackError: it has exited with another code than these; with the end of its output.
        """
        done = run_command(self.environment | environment, *command)
        if done.returncode not in codes:
            end = "\n".join(done.stderr.splitlines()[-_TAIL_LINES:])
            raise DevstackError(f"{' '.join(command)} exited with code {done.returncode}:\n{end}")
        return done.stdout

    def check(self) -> None:
        """Raise DevstackError if a service has exited with a failure."""
        for service in self.running:
            if service.process.poll() not in (None, 0):
                raise DevstackError(service.failure)

    def stop(self) -> None:
        """Stop all services as Kubernetes does: with SIGTERM, and SIGKILL after the grace period.

        Raises:
            DevstackError: a service did not exit cleanly.
        """
        stopping, self.running = self.running, []
        for service in stopping:
            service.process.terminate()
        failures = []
        for service in stopping:
            try:
                code = service.exit_code(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                service.kill()
                code = service.process.returncode
            # A SIGTERM that arrives before the service handles it kills the process, which is no failure.
            if code not in (0, -int(SIGTERM)):
                failures.append(service.failure)
        if failures:
            raise DevstackError("\n".join(failures))


def run_command(
    environment: Mapping[str, str], *command: str, timeout: float | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a service's command and wait for it, whatever its exit code.

    Raises:
        subprocess.TimeoutExpired: it has not exited within `timeout` seconds; it is killed.
    """
    return subprocess.run(
        _program(command),
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _spawn(command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return spawn(_program(command), _environment(environment), output)


def _program(command: tuple[str, ...]) -> list[str]:
    return [str(_BIN / command[0]), *command[1:]]


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    return own | {"HTTP_PORT": "0"} | dict(environment)
