"""The pods that the DAGs ask Kubernetes for, as its API receives them, and what their end means."""

from collections.abc import Callable

import pytest
from airflow.dag_processing.dagbag import BundleDagBag

from .local_pod import Manifest
from .pod_api import PodApi, served
from .runs import run

# By a thread: Airflow's own time limit takes the alarm signal.
pytestmark = pytest.mark.timeout(300, method="thread")

PASSWORD = "never-in-a-manifest"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PodApi]:
    """Return a function that makes a cluster whose image holds a shell script as `crmbot-exporter`."""

    def make(script: str) -> PodApi:
        folder = tmp_path_factory.mktemp("cluster")
        program = folder / "bin" / "crmbot-exporter"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        return PodApi(
            secrets={"crmbot-warehouse": {"WAREHOUSE_DSN": "host=gp", "WAREHOUSE_PASSWORD": PASSWORD}},
            claims={"crmbot-workbooks": folder / "workbooks"},
            image_env={"PATH": f"{program.parent}:/usr/bin:/bin"},
            scratch=folder,
        )

    return make


@pytest.fixture(scope="module")
def pods(cluster: Callable[[str], PodApi], dag_bag: BundleDagBag, metadata_db: None) -> dict[str, Manifest]:
    """The manifests that a run of data2excel_mrf5 posted, by task."""
    with served(cluster("exit 0")) as api:
        assert run(dag_bag.dags["data2excel_mrf5"], api) == "success"
    return {manifest["metadata"]["labels"]["task_id"]: manifest for manifest in api.created}


STREAMS = pytest.mark.parametrize("stream", ["actions", "nature"])


def test_a_run_asks_for_one_pod_per_stream(pods: dict[str, Manifest]) -> None:
    assert pods.keys() == {"export_actions", "export_nature"}


@STREAMS
def test_the_pod_runs_the_export_of_its_mrf_and_stream(pods: dict[str, Manifest], stream: str) -> None:
    manifest = pods[f"export_{stream}"]
    assert manifest["metadata"]["namespace"] == "crm-bot"
    assert manifest["metadata"]["name"].startswith(f"data2excel-mrf5-{stream}-")
    assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "mrf5"
    (container,) = manifest["spec"]["containers"]
    assert container["image"] == "crmbot-exporter:0.1.0"
    assert container["command"] == ["crmbot-exporter"]
    assert container["args"] == ["export", "--mrf", "mrf5", "--stream", stream]
    assert manifest["spec"]["restartPolicy"] == "Never"  # Airflow tries again, not the kubelet


@STREAMS
def test_the_workbook_goes_to_the_volume(pods: dict[str, Manifest], stream: str) -> None:
    spec = pods[f"export_{stream}"]["spec"]
    (container,) = spec["containers"]
    assert {"name": "OUTPUT_DIR", "value": "/opt/airflow/dags"} in container["env"]
    assert {"name": "TIMEZONE", "value": "Asia/Yekaterinburg"} in container["env"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert mounts.keys() == {"/opt/airflow/dags", "/tmp"}
    claim = volumes[mounts["/opt/airflow/dags"]]["persistentVolumeClaim"]
    assert claim == {"claimName": "crmbot-workbooks"}
    assert volumes[mounts["/tmp"]]["emptyDir"] == {}


@STREAMS
def test_the_warehouse_s_credentials_are_a_reference(pods: dict[str, Manifest], stream: str) -> None:
    manifest = pods[f"export_{stream}"]
    (container,) = manifest["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "crmbot-warehouse"}}]
    assert PASSWORD not in str(manifest)
    assert {variable["name"] for variable in container["env"]} == {"OUTPUT_DIR", "TIMEZONE"}


@STREAMS
def test_the_pod_fits_the_restricted_pod_security_level(pods: dict[str, Manifest], stream: str) -> None:
    spec = pods[f"export_{stream}"]["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 10001,
    }
    assert not spec["hostNetwork"]
    assert not spec.keys() & {"hostPID", "hostIPC"}
    assert not any("hostPath" in volume for volume in spec["volumes"])
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "crmbot-exporter"
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


def test_a_failed_export_fails_the_run_tells_why_and_keeps_its_pod(
    cluster: Callable[[str], PodApi],
    dag_bag: BundleDagBag,
    metadata_db: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    script = 'case "$*" in *nature) echo "the warehouse does not answer" >&2; exit 75;; esac'
    with served(cluster(script)) as api:
        assert run(dag_bag.dags["data2excel_mrf1"], api) == "failed"
        kept = [pod.manifest["metadata"] for pod in api.pods.values()]

    # The pod that succeeded is gone, the other is left for `kubectl logs`; a retry will not adopt it.
    assert [(pod["labels"]["task_id"], pod["labels"]["already_checked"]) for pod in kept] == [
        ("export_nature", "True")
    ]
    output = "".join(capfd.readouterr())
    assert f"Pod {kept[0]['name']} returned a failure.\nthe warehouse does not answer" in output
    assert PASSWORD not in output
