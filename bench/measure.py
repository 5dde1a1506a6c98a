"""Runs a service as a process and measures it; compares two series of measurements."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import psutil

from devstack.demo.services import Service, Services

_LOOK_SECONDS = 0.02


class BenchError(Exception):
    """A measurement that would say nothing; the message says why."""


@dataclass(frozen=True)
class Run:
    """A service from the start of its process to the moment at which its work was done.

    `seconds` is the whole time; `start_up_seconds` of them went by before the work began. `cpu_seconds` is
    what its threads used of all cores, start-up included.
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
    """Two sides that took turns, in rows per second; `target` is the least wanted ratio."""

    name: str
    target: float
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours to theirs, pair by pair."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def is_reached(self) -> bool:
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
    """Run a service until `is_done`, by default until it ends by itself, then end it.

    `begins_with` is the event in the service's log with which its work begins.

    Raises:
        DevstackError: the service failed.
        BenchError: it was not done within `timeout` seconds, or ended before.
    """
    peak = cpu = 0.0
    began = time.time()
    service = services.start(environment, *command)
    while not (is_done() if is_done else service.process.poll() is not None):
        peak, cpu = max(peak, _peak_mb(service.process.pid)), _cpu_seconds(service.process.pid) or cpu
        if time.time() - began > timeout or (is_done and service.process.poll() is not None):
            services.stop()
            raise BenchError(f"{service.name} was not done after {time.time() - began:.0f} s")
        time.sleep(_LOOK_SECONDS)
    seconds = time.time() - began
    peak, cpu = max(peak, _peak_mb(service.process.pid)), _cpu_seconds(service.process.pid) or cpu
    services.stop()
    start_up = _logged_at(service, begins_with) - began if begins_with else 0.0
    return Run(
        " ".join(command[:2]), environment["STREAM"] or "both streams", rows, seconds, start_up, cpu, peak
    )


def _peak_mb(pid: int) -> float:
    """Return the most memory that a process ever held (VmHWM), in MiB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line[:6] == "VmHWM:"), 0.0)


def _cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used; 0 when it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _logged_at(service: Service, event: str) -> float:
    lines = (line for line in service.log.read_text().splitlines() if line.startswith("{"))
    entry = next(entry for line in lines if (entry := json.loads(line))["event"] == event)
    return datetime.fromisoformat(entry["timestamp"]).timestamp()
