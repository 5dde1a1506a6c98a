"""The pods that the DAGs create, as the Kubernetes API receives them, and how their results are handled."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from airflow.dag_processing.dagbag import BundleDagBag

from .conftest import DAGS
from .local_pod import Manifest
from .pod_api import PodApi, served
from .runs import run

# By a thread, because Airflow's task timeout uses SIGALRM.
pytestmark = pytest.mark.timeout(300, method="thread")

PASSWORD = "never-in-a-manifest"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PodApi]:
    """Return a function that creates a cluster whose image has a shell script as `crmbot-exporter`."""

    def make(script: str) -> PodApi:
        folder = tmp_path_factory.mktemp("cluster")
        program = folder / "bin" / "crmbot-exporter"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        return PodApi(
            secrets={"crmbot-warehouse": {"WAREHOUSE_DSN": "host=gp", "WAREHOUSE_PASSWORD": PASSWORD}},
            claims={f"mrf{number}-workbooks": folder / "workbooks" for number in range(1, 8)},
            image_env={"PATH": f"{program.parent}:/usr/bin:/bin"},
            scratch=folder,
        )

    return make


@pytest.fixture(scope="module")
def pods(cluster: Callable[[str], PodApi], dag_bag: BundleDagBag, metadata_db: None) -> dict[str, Manifest]:
    """The manifests posted by a run of data2excel_mrf5, by task."""
    with served(cluster("exit 0")) as api:
        assert run(dag_bag.dags["data2excel_mrf5"], api, datetime(2026, 10, 1, 1, tzinfo=UTC)) == "success"
    return {manifest["metadata"]["labels"]["task_id"]: manifest for manifest in api.created}


TASKS = pytest.mark.parametrize("task", ["marts", "export_actions", "export_nature", "publish"])


def test_a_run_creates_one_pod_per_task(pods: dict[str, Manifest]) -> None:
    assert pods.keys() == {"marts", "export_actions", "export_nature", "publish"}
    first, *_, last = pods
    assert (first, last) == ("marts", "publish")


def test_every_pod_gets_the_same_run_and_day(pods: dict[str, Manifest]) -> None:
    arguments = {task: pod["spec"]["containers"][0]["args"] for task, pod in pods.items()}
    run_id = arguments["publish"][4]
    run = ["--mrf", "mrf5", "--run-id", run_id]
    # The interval ends on 1 October at 06:00 in Yekaterinburg, 01:00 UTC.
    day = ["--day", "2026-09-30"]
    assert arguments == {
        "marts": ["marts", *run, *day],
        "export_actions": ["export", *run, *day, "--stream", "actions", "--data", "month"],
        "export_nature": ["export", *run, *day, "--stream", "nature", "--data", "month"],
        "publish": ["publish", *run],
    }
    assert run_id


@TASKS
def test_the_pod_runs_the_exporter_for_its_mrf(pods: dict[str, Manifest], task: str) -> None:
    manifest = pods[task]
    assert manifest["metadata"]["namespace"] == "crm-bot"
    assert manifest["metadata"]["name"].startswith(f"data2excel-mrf5-{task.removeprefix('export_')}-")
    assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "mrf5"
    (container,) = manifest["spec"]["containers"]
    assert container["image"] == "crmbot-exporter:0.1.0"
    assert container["command"] == ["crmbot-exporter"]
    assert manifest["spec"]["restartPolicy"] == "Never"  # Airflow retries, not the kubelet


@TASKS
def test_the_workbook_goes_to_the_volume(pods: dict[str, Manifest], task: str) -> None:
    spec = pods[task]["spec"]
    (container,) = spec["containers"]
    assert {"name": "OUTPUT_DIR", "value": "/opt/airflow/dags"} in container["env"]
    assert {"name": "TIMEZONE", "value": "Asia/Yekaterinburg"} in container["env"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert mounts.keys() == {"/opt/airflow/dags", "/tmp"}
    claim = volumes[mounts["/opt/airflow/dags"]]["persistentVolumeClaim"]
    assert claim == {"claimName": "mrf5-workbooks"}
    assert volumes[mounts["/tmp"]]["emptyDir"] == {}


@TASKS
def test_the_warehouse_s_credentials_are_a_reference(pods: dict[str, Manifest], task: str) -> None:
    manifest = pods[task]
    (container,) = manifest["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "crmbot-warehouse"}}]
    assert PASSWORD not in str(manifest)
    assert {variable["name"] for variable in container["env"]} == {"OUTPUT_DIR", "TIMEZONE"}


def test_certificates_for_the_warehouse_are_mounted_where_libpq_looks(
    cluster: Callable[[str], PodApi], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metadata_db: None
) -> None:
    config = yaml.safe_load((DAGS / "data2excel.yaml").read_text(encoding="utf-8"))
    own = {"warehouse_ca": {"config_map": "corporate-ca"}, "warehouse_certificate": "exporter-tls"}
    config["mrfs"]["mrf2"].update(own)
    path = tmp_path / "data2excel.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setenv("DATA2EXCEL_CONFIG", str(path))
    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    with served(cluster("exit 1")) as api:
        run(bag.dags["data2excel_mrf2"], api)
    spec = api.created[0]["spec"]
    (container,) = spec["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    authority, _, file = env["PGSSLROOTCERT"].rpartition("/")
    assert volumes[mounts[authority]]["configMap"] == {"name": "corporate-ca"}
    assert (file, env["PGSSLMODE"]) == ("ca.crt", "verify-full")
    (folder,) = {env[name].rpartition("/")[0] for name in ("PGSSLCERT", "PGSSLKEY")}
    assert volumes[mounts[folder]]["secret"] == {"secretName": "exporter-tls", "defaultMode": 0o440}


@TASKS
def test_the_pod_meets_the_restricted_pod_security_standard(pods: dict[str, Manifest], task: str) -> None:
    spec = pods[task]["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 10001,
    }
    assert not spec["hostNetwork"]
    assert not spec.keys() & {"hostPID", "hostIPC"}
    assert not any("hostPath" in volume for volume in spec["volumes"])
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "mrf5-exporter"
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert container["resources"] == {
        "requests": {"cpu": "250m", "memory": "256Mi"},
        "limits": {"memory": "1Gi"},
    }


def test_all_russia_creates_one_pod(
    cluster: Callable[[str], PodApi], dag_bag: BundleDagBag, metadata_db: None
) -> None:
    with served(cluster("exit 0")) as api:
        assert run(dag_bag.dags["data2excel_russia"], api) == "success"
    (manifest,) = api.created
    (container,) = manifest["spec"]["containers"]
    mrfs = ",".join(f"mrf{number}" for number in range(1, 8))
    assert container["args"] == ["export-russia", "--mrfs", mrfs]


class _ChatWebhook(BaseHTTPRequestHandler):
    """A chat's webhook that records its requests."""

    posted: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.posted.append((self.path, json.loads(self.rfile.read(length))["text"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Suppress the log of requests."""


def test_a_failure_is_posted_to_the_chat(
    cluster: Callable[[str], PodApi],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    metadata_db: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    text = (DAGS / "data2excel.yaml").read_text(encoding="utf-8")
    path = tmp_path / "data2excel.yaml"
    path.write_text(text.replace("# alert_connection", "alert_connection"), encoding="utf-8")
    monkeypatch.setenv("DATA2EXCEL_CONFIG", str(path))
    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    chat = ThreadingHTTPServer(("127.0.0.1", 0), _ChatWebhook)
    threading.Thread(target=chat.serve_forever, daemon=True).start()
    connection = {
        "conn_type": "http",
        "host": f"http://127.0.0.1:{chat.server_port}",
        "password": "/hook/secret",
    }
    monkeypatch.setenv("AIRFLOW_CONN_DATA2EXCEL_ALERTS", json.dumps(connection))
    with served(cluster("exit 1")) as api:
        assert run(bag.dags["data2excel_mrf2"], api) == "failed"
    chat.shutdown()
    chat.server_close()
    ((where, posted),) = _ChatWebhook.posted
    assert where == "/hook/secret"
    assert posted.startswith("data2excel_mrf2, run manual__")
    assert ": marts failed: " in posted
    assert "/hook/secret" not in "".join(capfd.readouterr())


def test_a_failed_export_fails_the_run_logs_the_reason_and_keeps_its_pod(
    cluster: Callable[[str], PodApi],
    dag_bag: BundleDagBag,
    metadata_db: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    script = 'case "$*" in *nature*) echo "the warehouse does not answer" >&2; exit 75;; esac'
    with served(cluster(script)) as api:
        assert run(dag_bag.dags["data2excel_mrf1"], api) == "failed"
        kept = [pod.manifest["metadata"] for pod in api.pods.values()]

    # The pod that succeeded is deleted, the other is kept for `kubectl logs`; a retry does not adopt it.
    assert [(pod["labels"]["task_id"], pod["labels"]["already_checked"]) for pod in kept] == [
        ("export_nature", "True")
    ]
    output = "".join(capfd.readouterr())
    assert f"Pod {kept[0]['name']} returned a failure.\nthe warehouse does not answer" in output
    assert PASSWORD not in output
