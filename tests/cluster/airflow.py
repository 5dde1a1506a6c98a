"""A client of Airflow's REST API."""

import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.cluster.kube import Object, request, until


@dataclass(frozen=True)
class Airflow:
    """An Airflow server; `secret` is the Secret's passwords.json in base64."""

    url: str
    secret: str

    def call(self, path: str, body: Object | None = None, *, method: str | None = None) -> Object:
        """Call the API as admin."""
        login = {"username": "admin", "password": json.loads(b64decode(self.secret))["admin"]}
        token = request(f"{self.url}/auth/token", login)["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return request(f"{self.url}/api/v2/{path}", body, method=method, headers=headers)

    def run_dag(self, dag: str, seconds: float = 300) -> None:
        """Trigger a DAG and wait until the run has succeeded."""
        until(f"Airflow has the DAG {dag}", lambda: self.call(f"dags/{dag}"))
        self.call(f"dags/{dag}?update_mask=is_paused", {"is_paused": False}, method="PATCH")
        run = self.call(f"dags/{dag}/dagRuns", {"logical_date": datetime.now(UTC).isoformat()})["dag_run_id"]

        def state() -> str:
            answer: str = self.call(f"dags/{dag}/dagRuns/{run}")["state"]
            return answer if answer in ("success", "failed") else ""

        end = until(f"the run {run} of {dag} finishes", state, seconds=seconds)
        if end != "success":
            tasks = self.call(f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
            raise AssertionError(f"{run}: {[(task['task_id'], task['state']) for task in tasks]}")
