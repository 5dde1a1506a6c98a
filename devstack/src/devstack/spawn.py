"""Starts processes that are stopped when this process ends, in whatever way (Linux)."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL, Signals
from typing import IO

_LAUNCH = Path(__file__).with_name("launch.py")
# PR_SET_PDEATHSIG is bound to the forking thread: one thread, which lives as long as this process, forks all.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-spawner")


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: IO[bytes],
    *,
    end_signal: Signals = SIGKILL,
    user: tuple[int, int] | None = None,
    folder: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a process with its output in a log; it receives `end_signal` when this process ends.

    The process has a session of its own: Ctrl-C is for this process, which stops the others in its order.

    Args:
        command: a path and arguments.
        environment: all of it.
        log: stdout and stderr.
        end_signal: for the process when this one ends.
        user: user and group id, by default those of this process.
        folder: to run in, by default that of this process.
    """
    uid, gid = user or (os.geteuid(), os.getegid())
    launch = [sys.executable, "-I", "-S", str(_LAUNCH)]
    launch += map(str, (os.getpid(), int(end_signal), uid, gid))
    return _SPAWNER.submit(
        subprocess.Popen[bytes],
        [*launch, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    ).result()
