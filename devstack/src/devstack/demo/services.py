"""The services as processes, started as in their images: by a command and its environment."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import free_port
from devstack.server import DevstackError

_BIN = Path(sys.executable).parent
_LAUNCH = Path(__file__).parent.parent / "launch.py"
_STOP_SECONDS = 40


@dataclass(frozen=True)
class Service:
    """A running service; its log is a file."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples; 0 if the service does not respond."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=1) as answer:
                text = answer.read().decode()
        except (URLError, TimeoutError, ConnectionError):
            return 0.0
        families = text_string_to_metric_families(text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)


@dataclass
class Services:
    """Starts and stops services. A failure raises DevstackError with the last lines of the log."""

    folder: Path
    environment: dict[str, str]
    running: list[Service] = field(default_factory=list)

    def start(self, environment: dict[str, str], *command: str) -> Service:
        """Start a service, which runs until `stop`."""
        port = free_port()
        name = "-".join([environment.get("MRF", ""), *command[:2], environment.get("STREAM", "")]).strip("-")
        log = self.folder / f"{name}-{len(self.running)}.log"
        process = self._spawn(log, command, {"HTTP_PORT": str(port), **environment})
        self.running.append(Service(name, process, port, log))
        return self.running[-1]

    def run(self, environment: dict[str, str], *command: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command and return its output."""
        log = self.folder / f"{'-'.join([environment.get('MRF', ''), *command[:2]])}.log"
        output = log.with_suffix(".out")
        process = self._spawn(log, command, environment, output)
        if process.wait() not in codes:
            raise DevstackError(_failure(" ".join(command), process.returncode, log))
        return output.read_text()

    def check(self) -> None:
        """Raise DevstackError if a service has exited with a failure."""
        for service in self.running:
            code = service.process.poll()
            if code not in (None, 0):
                raise DevstackError(_failure(service.name, code or 0, service.log))

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
                code = service.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                service.process.kill()
                code = service.process.wait()
            # A SIGTERM that arrives before the service handles it kills the process, which is no failure.
            if code not in (0, -int(SIGTERM)):
                failures.append(_failure(service.name, code, service.log))
        if failures:
            raise DevstackError("\n".join(failures))

    def _spawn(
        self, log: Path, command: tuple[str, ...], environment: dict[str, str], output: Path | None = None
    ) -> "subprocess.Popen[bytes]":
        # It is stopped with this process. Only this process receives a Ctrl-C, and then stops the services.
        launch = [sys.executable, "-I", "-S", str(_LAUNCH)]
        launch += map(str, (os.getpid(), int(SIGTERM), os.geteuid(), os.getegid()))
        with log.open("wb") as errors, (output or log).open("ab") as printed:
            return subprocess.Popen(
                [*launch, str(_BIN / command[0]), *command[1:]],
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=errors,
                start_new_session=True,
            )


def _failure(name: str, code: int, log: Path) -> str:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
    return f"{name} exited with code {code}; the end of {log}:\n{tail}"
