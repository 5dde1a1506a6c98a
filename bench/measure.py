"""Runs and measures a service; compares two series of measurements."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import psutil

from devstack.services import Service, Services

_POLL_SECONDS = 0.02


class BenchError(Exception):
    """An invalid measurement; the message says why."""


@dataclass(frozen=True)
class Run:
    """One run of a service, from the start of its process until its work was done.

    `seconds` includes `start_up_seconds`, the time before the work began. `cpu_seconds` is the CPU time of
    all threads, start-up included.
    """

    service: str
    work: str
    rows: int
    seconds: float
    start_up_seconds: float
    cpu_seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Rows per second, start-up included."""
        return self.rows / self.seconds

    @property
    def working_rate(self) -> float:
        """Rows per second without start-up."""
        return self.rows / (self.seconds - self.start_up_seconds)


@dataclass(frozen=True)
class Comparison:
    """The rates of two sides that alternated, in rows per second; `target` is the minimum ratio."""

    name: str
    target: float
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours to theirs, by round."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def is_reached(self) -> bool:
        """Whether the median ratio is at least the target."""
        return median(self.ratios) >= self.target


def measured(
    services: Services,
    environment: dict[str, str],
    *command: str,
    rows: int,
    is_done: Callable[[], bool] | None = None,
    begins_with: str | None = None,
    timeout: float = 1800,
) -> Run:
    """Run a service until `is_done`, by default until it exits, then stop it.

    `begins_with` is the event in the service's log that marks the end of its start-up.

    Raises:
        DevstackError: the service failed.
        BenchError: it was not done within `timeout` seconds, or exited before.
    """
    peak = cpu = 0.0
    began = time.time()
    service = services.start(environment, *command)
    while not (is_done() if is_done else service.process.poll() is not None):
        peak, cpu = max(peak, _peak_mb(service.process.pid)), _cpu_seconds(service.process.pid) or cpu
        if time.time() - began > timeout or (is_done and service.process.poll() is not None):
            services.stop()
            raise BenchError(f"{service.name} was not done after {time.time() - began:.0f} s")
        time.sleep(_POLL_SECONDS)
    seconds = time.time() - began
    peak, cpu = max(peak, _peak_mb(service.process.pid)), _cpu_seconds(service.process.pid) or cpu
    services.stop()
    start_up = _logged_at(service, begins_with) - began if begins_with else 0.0
    return Run(
        " ".join(command[:2]), environment["STREAM"] or "both streams", rows, seconds, start_up, cpu, peak
    )


def _peak_mb(pid: int) -> float:
    """Return a process's peak memory (VmHWM) in MiB; 0 if it has exited."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line[:6] == "VmHWM:"), 0.0)


def _cpu_seconds(pid: int) -> float:
    """Return a process's CPU time; 0 if it has exited."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _logged_at(service: Service, event: str) -> float:
    lines = (line for line in service.log.read_text().splitlines() if line.startswith("{"))
    entry = next(entry for line in lines if (entry := json.loads(line))["event"] == event)
    return datetime.fromisoformat(entry["timestamp"]).timestamp()
