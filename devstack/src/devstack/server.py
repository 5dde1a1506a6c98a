"""The base of Kafka and PostgreSQL: one server process that owns one directory."""

import fcntl
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from types import TracebackType
from typing import IO, ClassVar, Self

import psutil

from devstack.spawn import spawn


class DevstackError(Exception):
    """A server does not run; the message says why and what to do."""


class Server(ABC):
    """One server process that owns one directory and writes only below it.

    After `stop`, `kill` or a crash, `start` brings back the same data at the same address. The server is
    stopped when this process ends, in whatever way (Linux). A directory can be used by one process at a time.
    Not thread-safe.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    stop_signal: ClassVar[Signals]
    start_seconds: ClassVar[float] = 90
    stop_seconds: ClassVar[float] = 30

    def __init__(self, directory: Path) -> None:
        """Create `directory` if it does not exist. Raises DevstackError if this user can't write there."""
        self.directory = directory.resolve()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / "lock").touch()
        except OSError as error:
            raise DevstackError(
                f"{self.name} can't use {directory}: {error}; use another directory"
            ) from error
        self.log = self.directory / f"{self.name.lower()}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Create what the server needs in its directory; return the command that runs it."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return whether the server accepts clients."""

    def _user(self) -> tuple[int, int]:
        """User and group ids under which the server runs."""
        return os.geteuid(), os.getegid()

    @property
    def pid(self) -> int:
        """Process id. Raises DevstackError if the server is not running."""
        if self._process is None or self._process.poll() is not None:
            raise DevstackError(f"{self.name} in {self.directory} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is running; it may have crashed."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it accepts clients; do nothing if it is running.

        Raises DevstackError, with the end of the server's log, if it fails or takes longer than
        `start_seconds`, and if another process uses the directory.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._lock = self._lock or lock(self.directory / "lock", wait=False)
        try:
            end_leftovers(self.program, self.directory)
            self._process = self._spawn(self._prepare())
            self._await_answer(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the server down; kill it if that takes longer than `stop_seconds`."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.stop_seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the server and its children with SIGKILL, like a crash."""
        if self._process is not None and self._process.poll() is None:
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            _kill(children)
        self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a command in the directory, with its output in the log."""
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # paths may contain any characters
        with self.log.open("ab") as log:
            return spawn(
                command,
                environment,
                log,
                end_signal=self.stop_signal,
                user=self._user(),
                folder=self.directory,
            )

    def _run(self, command: list[str]) -> None:
        """Run a command. Raises DevstackError with the end of the log if it fails."""
        program = Path(command[0]).name
        process = self._spawn(command)
        try:
            code = process.wait(self.start_seconds)
        except subprocess.TimeoutExpired:
            raise DevstackError(
                self._failure(f"{program} did not exit within {self.start_seconds:.0f} s")
            ) from None
        finally:
            process.kill()
        if code != 0:
            raise DevstackError(self._failure(f"{program} exited with code {code}"))

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not self._answers():
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(0.05)
                raise DevstackError(self._failure(f"it exited with code {code}"))
            if time.monotonic() > deadline:
                raise DevstackError(self._failure(f"no response within {self.start_seconds:.0f} s"))

    def _failure(self, reason: str) -> str:
        with self.log.open(errors="replace") as log:
            tail = "".join(deque(log, maxlen=15))
        return f"{self.name} did not start: {reason}; the end of {self.log}:\n{tail}"


def write_private(file: Path, text: str) -> None:
    """Write a file that only this user can read, replacing an old one."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)


def lock(file: Path, *, wait: bool) -> IO[str]:
    """Open `file` and lock it until it is closed or this process exits.

    Raises DevstackError if another process has locked it and `wait` is false.
    """
    opened = file.open("a")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        opened.close()
        raise DevstackError(
            f"{file.parent} is in use by another run: stop it, or use another directory"
        ) from None
    return opened


def end_leftovers(program: str, directory: Path) -> None:
    """Terminate processes named `program` in `directory` that a killed owner has left.

    The kernel has sent them a stop signal (see launch.py). Those that do not exit within 3 s are killed.
    """
    leftovers = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == program and Path(process.cwd()).is_relative_to(directory):
                leftovers.append(process)
    _kill(still_running(leftovers, 3))


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(SIGKILL)
    still_running(processes, 10)


def still_running(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for the processes to exit, up to `seconds`; return those that are still running.

    A zombie has exited: the init process of some containers never reaps orphans. But while it has other
    threads, it still holds its ports.
    """
    deadline = time.monotonic() + seconds
    while (running := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return running


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and (
            process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
        )
    except psutil.NoSuchProcess:
        return False
