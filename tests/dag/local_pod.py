"""A pod as a local process; see `pod_api`."""

import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Manifest = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Pod:
    """A pod with one container, which runs as a local process."""

    def __init__(self, manifest: Manifest, command: list[str], env: Mapping[str, str]) -> None:
        self.manifest = manifest
        self.log: list[str] = []
        self.started_at, self.finished_at = now(), ""
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
        self.follower = threading.Thread(target=self._follow, daemon=True)
        self.follower.start()

    def _follow(self) -> None:
        assert self.process.stdout
        self.log.extend(f"{now()} {line}" for line in self.process.stdout)
        self.process.wait()
        self.finished_at = now()

    def stop(self) -> None:
        self.process.terminate()
        self.follower.join()

    def as_json(self) -> Manifest:
        container = self.manifest["spec"]["containers"][0]
        phase, state = "Running", self._running()
        if self.finished_at:
            phase = "Failed" if self.process.returncode else "Succeeded"
            state = self._terminated(container.get("terminationMessagePolicy") == "FallbackToLogsOnError")
        status = {"name": container["name"], "image": container["image"], "imageID": "", "state": state}
        status |= {"ready": phase == "Running", "restartCount": 0}
        return self.manifest | {"status": {"phase": phase, "containerStatuses": [status]}}

    def _running(self) -> Manifest:
        return {"running": {"startedAt": self.started_at}}

    def _terminated(self, includes_log: bool) -> Manifest:
        code = self.process.returncode
        return {
            "terminated": {
                "exitCode": code,
                "reason": "Error" if code else "Completed",
                "message": "".join(line.partition(" ")[2] for line in self.log[-80:])
                if code and includes_log
                else "",
                "startedAt": self.started_at,
                "finishedAt": self.finished_at,
            }
        }
