"""A release of charts/crm-bot in the cluster."""

import json
from dataclasses import dataclass
from typing import Any

from tests.cluster.kube import Object, execute, helm, is_ready, kubectl, pods, until

Audit = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """The release of one MRF, named after it."""

    mrf: str

    @property
    def selector(self) -> str:
        return f"app.kubernetes.io/name=crm-bot,app.kubernetes.io/instance={self.mrf}"

    def upgrade(self, **values: str | float | Object | list[Object] | None) -> None:
        """Change values, named as in `--set` with `__` for dots, and wait until the new pods are ready."""
        settings = [
            f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()
        ]
        helm("upgrade", self.mrf, "charts/crm-bot", "--reuse-values", "--wait", "--timeout=5m", *settings)
        self.wait()

    def wait(self, seconds: float = 180) -> None:
        """Wait until all pods are rolled out and ready."""
        for kind in ("statefulset", "deployment"):
            names = kubectl("get", kind, "--selector", self.selector, "--output", "name").split()
            for name in names:
                kubectl("rollout", "status", name, f"--timeout={seconds:.0f}s", seconds=seconds + 10)
        until(f"the pods of {self.mrf} are ready", lambda: all(map(is_ready, self.pods())))

    def pods(self, component: str | None = None) -> list[Object]:
        """Return the release's pods, or those of one component."""
        return pods(self.selector + (f",app.kubernetes.io/component={component}" if component else ""))

    def audit(self) -> Audit:
        """Return the audit of the bot's files against the warehouse; it waits for rows not loaded yet."""
        text = execute(
            f"{self.mrf}-bot-0",
            *("sh", "-c", "crmbot-producer audit --json --wait 60 || [ $? = 4 ]"),
            container="producer-actions",
        )
        answer: Audit = json.loads(text.splitlines()[-1])
        return answer

    def rows(self) -> int:
        """Return the number of rows of both streams in the warehouse, counted by PostgreSQL."""
        tables = [f"SELECT count(*) FROM crm_bot_{stream}_{self.mrf}" for stream in ("actions", "nature")]
        query = f"SELECT ({tables[0]}) + ({tables[1]})"
        psql = ("psql", "--username=postgres", "--dbname=warehouse", "--no-align", "--tuples-only")
        return int(execute("platform-postgresql-0", *psql, f"--command={query}"))

    def assert_audit_clean(self) -> None:
        audit = self.audit()
        assert audit["clean"], audit
        assert all(stream["rejected"] == 0 for stream in audit["streams"]), audit

    def wait_for_rows(self, rows: int = 200) -> None:
        """Wait until `rows` more rows are in the warehouse."""
        before = until(f"the warehouse has rows of {self.mrf}", self.rows)
        until(f"{rows} more rows of {self.mrf} are loaded", lambda: self.rows() >= before + rows)
