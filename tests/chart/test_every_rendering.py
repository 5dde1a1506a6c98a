"""Properties of the chart with every values file that it ships."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, CI_FILES, DEFAULT, MRF_FILES, Rendered, helm, secrets_of, text, tool

RENDERINGS = [
    pytest.param((DEFAULT, CHART / "openshift.yaml"), id="openshift"),
    *(pytest.param((file,), id=f"ci/{file.stem}") for file in CI_FILES),
    *(pytest.param((DEFAULT, file), id=f"mrf/{file.stem}") for file in MRF_FILES),
]
CUSTOM = ("PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication")
every_rendering = pytest.mark.parametrize("files", RENDERINGS)


@every_rendering
def test_manifests_match_the_kubernetes_schemas(files: tuple[Path, ...]) -> None:
    kubeconform, schemas = tool("kubeconform"), os.environ.get("KUBECONFORM_SCHEMAS")
    if kubeconform is None:
        pytest.skip("kubeconform not found: put it on PATH, or set KUBECONFORM to its path")
    location = (
        [f"-schema-location={schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"] if schemas else []
    )
    # The default schemas have no custom resources; KUBECONFORM_SCHEMAS may.
    skipped = [] if schemas else [f"-skip={','.join(CUSTOM)}"]
    command = [kubeconform, "-strict", *skipped, *location]
    done = subprocess.run(
        command, input=text(*files), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@every_rendering
def test_lint_finds_nothing(files: tuple[Path, ...]) -> None:
    done = helm("lint", "--strict", str(CHART), *(f"--values={file}" for file in files))
    assert done.returncode == 0, done.stdout + done.stderr


@every_rendering
def test_every_pod_meets_the_restricted_pod_security_standard(files: tuple[Path, ...]) -> None:
    for name, template in Rendered(*files).pods():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name


@every_rendering
def test_no_pod_has_an_api_token_or_service_variables(files: tuple[Path, ...]) -> None:
    for name, template in Rendered(*files).pods():
        assert template["spec"]["automountServiceAccountToken"] is False, name
        # A Service named kafka would set KAFKA_PORT, which the Kafka client refuses as a setting.
        assert template["spec"]["enableServiceLinks"] is False, name


@every_rendering
def test_every_container_bounds_its_memory(files: tuple[Path, ...]) -> None:
    for name, template in Rendered(*files).pods():
        for container in template["spec"]["containers"]:
            if container["image"].rpartition("/")[2].startswith("crmbot-"):
                assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
                assert "memory" in container["resources"]["limits"], name


@every_rendering
def test_every_object_a_pod_refers_to_is_rendered_or_named_in_the_values(files: tuple[Path, ...]) -> None:
    rendered = Rendered(*files)
    values = "".join(file.read_text(encoding="utf-8") for file in files)
    for name, template in rendered.pods():
        spec = template["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        claims = {
            v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v
        }
        made = rendered.names("PersistentVolumeClaim") | {"data-mrf1-bot-0"}
        assert all(claim in made or claim in values for claim in claims), name
        if "serviceAccountName" in spec:
            assert spec["serviceAccountName"] in rendered.names("ServiceAccount"), name
        templates = rendered.one("StatefulSet", "mrf1-bot")["spec"].get("volumeClaimTemplates", [])
        own = {"data"} if name == "mrf1-bot" and templates else set()
        for container in spec["containers"] + spec.get("initContainers", []):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys() | own, name
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert source["configMapRef"]["name"] in rendered.names("ConfigMap"), name


@every_rendering
def test_nothing_secret_is_in_the_manifests(files: tuple[Path, ...]) -> None:
    rendered = Rendered(*files)
    assert "Secret" not in rendered.kinds()
    assert not re.search(r"(?i)password\s*[=:]", text(*files))
    for _, template in rendered.pods():
        for container in template["spec"]["containers"]:
            assert "PASSWORD" not in str(container.get("args", ()))


@every_rendering
def test_every_port_has_probes(files: tuple[Path, ...]) -> None:
    for name, template in Rendered(*files).pods():
        ports = set()
        for container in template["spec"]["containers"]:
            for port in container.get("ports", []):
                assert port["name"].startswith("metrics"), name
                assert len(port["name"]) <= 15, name
                assert port["containerPort"] not in ports, f"{name}: two containers use the same port"
                ports.add(port["containerPort"])
                assert {"name": "HTTP_PORT", "value": str(port["containerPort"])} in container["env"]
                for probe, path in (
                    ("startup", "/healthz"),
                    ("liveness", "/healthz"),
                    ("readiness", "/readyz"),
                ):
                    asked = container[f"{probe}Probe"]["httpGet"]
                    assert asked == {"path": path, "port": port["name"]}, name


@pytest.mark.parametrize("file", MRF_FILES, ids=lambda file: file.stem)
def test_an_mrf_file_sets_only_what_differs(file: Path) -> None:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert values["mrf"] == file.stem
    allowed = {
        "mrf": None, "title": None, "timezone": None,
        "topics": {"partitions"}, "generator": {"managers", "rowsPerDay"}, "exporter": {"schedule"},
    }  # fmt: skip
    assert values.keys() == allowed.keys()
    for key, parts in allowed.items():
        if parts is not None:
            assert values[key].keys() == parts


def test_titles_and_time_zones_match_those_of_the_dags() -> None:
    config = yaml.safe_load((CHART.parents[1] / "dags" / "data2excel.yaml").read_text(encoding="utf-8"))
    ours = {}
    for file in MRF_FILES:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        ours[file.stem] = {"title": values["title"], "timezone": values["timezone"]}
    theirs = {mrf: {"title": c["title"], "timezone": c["timezone"]} for mrf, c in config["mrfs"].items()}
    assert ours == theirs


def test_only_the_sasl_file_names_other_secrets() -> None:
    rendered = Rendered(CHART / "ci" / "sasl-values.yaml")
    assert secrets_of(rendered.container("mrf1-topics", "topics")) == ["kafka-crm-bot"]
    assert secrets_of(rendered.container("mrf1-migrate", "migrate")) == ["warehouse-owner"]
    assert secrets_of(rendered.container("mrf1-audit", "audit")) == ["warehouse-auditor"]
    consumer = rendered.container("mrf1-consumer-nature", "consumer")
    assert secrets_of(consumer) == ["kafka-crm-bot", "warehouse-loader"]
    assert secrets_of(rendered.container("mrf1-bot", "generator")) == []
    assert secrets_of(rendered.container("mrf1-bot", "producer-nature")) == ["kafka-crm-bot"]
    assert secrets_of(rendered.container("mrf1-bot", "producer-actions")) == [
        "kafka-crm-bot",
        "warehouse-auditor",
    ]
