"""kubectl and helm as functions, and waiting for conditions."""

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

NAMESPACE = "crm-bot"
ROOT = Path(__file__).parents[2]

_Result = TypeVar("_Result")
Object = dict[str, Any]


class CommandError(AssertionError):
    """A command failed; the message has its output."""


def run(*command: str, stdin: str = "", seconds: float = 300) -> str:
    """Run a command and return its output.

    Raises:
        CommandError: the exit code is not 0.
    """
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise CommandError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def kubectl(*arguments: str, seconds: float = 300) -> str:
    return run("kubectl", "--namespace", NAMESPACE, *arguments, seconds=seconds)


def helm(*arguments: str, seconds: float = 300) -> str:
    return run("helm", "--namespace", NAMESPACE, *arguments, seconds=seconds)


def get(*arguments: str) -> Object:
    """Return the JSON output of `kubectl get`."""
    answer: Object = json.loads(kubectl("get", *arguments, "--output", "json"))
    return answer


def pods(selector: str) -> list[Object]:
    """Return the pods with these labels, without terminating ones."""
    items: list[Object] = get("pods", "--selector", selector)["items"]
    return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def execute(pod: str, *command: str, container: str | None = None, seconds: float = 300) -> str:
    """Run a command in a pod (or `deploy/…`) and return its output."""
    chosen = ["--container", container] if container else []
    return kubectl("exec", pod, *chosen, "--", *command, seconds=seconds)


def until(what: str, check: Callable[[], _Result], *, seconds: float = 120) -> _Result:
    """Call `check` until it returns something true, and return that.

    Errors of commands and connections are retried.

    Raises:
        AssertionError: after `seconds`; the message has the last result.
    """
    end = time.monotonic() + seconds
    while True:
        answer: _Result | Exception
        try:
            answer = check()
            if answer:
                return answer
        except (CommandError, OSError) as error:
            answer = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last result: {answer}")
        time.sleep(0.5)


def raw(path: str) -> Object:
    """Return the JSON response of the API server, which can also proxy a service."""
    answer: Object = json.loads(run("kubectl", "get", "--raw", path))
    return answer


@contextmanager
def port_forward(target: str, port: int) -> Iterator[str]:
    """Forward a local port to a service in the cluster, and yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local = probe.getsockname()[1]
    command = ["kubectl", "--namespace", NAMESPACE, "port-forward", target, f"{local}:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as forward:
        try:
            until(f"{target} is forwarded", lambda: _listens(local), seconds=30)
            yield f"http://127.0.0.1:{local}"
        finally:
            forward.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def request(
    url: str,
    body: Object | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Object:
    """Return the JSON response of a server; raises OSError on a failure."""
    call = urllib.request.Request(
        url,
        data=json.dumps(body).encode() if body is not None else None,
        method=method,
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    with urllib.request.urlopen(call, timeout=30) as answer:
        content: Object = json.load(answer)
        return content
