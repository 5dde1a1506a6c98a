"""Exit codes, crash logs and signals."""

import json
import os
import signal
import subprocess
import sys

import pytest
import structlog

from crmbot_core.errors import StoppedError
from crmbot_core.lifecycle import exit_codes, stop_on_signals
from crmbot_core.settings import LogSettings
from crmbot_core.telemetry import configure_logging

SECRET = "topsecret"


def crash(password: str) -> None:
    with exit_codes("crmbot-test"):
        raise RuntimeError(f"{len(password)} characters")


@pytest.fixture(autouse=True)
def _unconfigured() -> object:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "console", None])
def test_a_crash_is_logged_with_its_traceback_and_without_local_variables(
    log_format: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if log_format:
        configure_logging(LogSettings(log_format=log_format), "crmbot-test")
    with pytest.raises(SystemExit) as end:
        crash(SECRET)
    assert end.value.code == 1
    printed = "".join(capsys.readouterr())
    assert "9 characters" in printed
    assert "test_lifecycle.py" in printed
    assert SECRET not in printed


def test_json_logs_are_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(log_format="json"), "crmbot-test")
    with pytest.raises(SystemExit):
        crash(SECRET)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "crashed"


def test_an_expected_failure_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, exit_codes("crmbot-test"):
        raise StoppedError("the file was replaced")
    assert end.value.code == 3
    assert capsys.readouterr().err == "crmbot-test: the file was replaced\n"


@pytest.mark.timeout(20)
def test_a_signal_during_a_wait_stops_the_service() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = stop_on_signals()
        with stop._cond:  # type: ignore[attr-defined]  # held inside `wait`
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_signal_shows_where_a_service_hangs() -> None:
    program = (
        "import os, signal\nfrom crmbot_core.lifecycle import stop_on_signals\n"
        "def hang():\n    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "stop_on_signals()\nhang()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "in hang" in done.stderr
