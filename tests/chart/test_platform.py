"""What charts/platform renders. Whether it works is tested in tests/cluster."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendering import Manifest, helm, tool

CHART = Path(__file__).parents[2] / "charts" / "platform"
PARTS = ("kafka", "postgresql", "airflow", "prometheus", "grafana")


def text(*settings: str) -> str:
    arguments = [f"--set={setting}" for setting in settings]
    done = helm("template", "platform", str(CHART), "--namespace=crm-bot", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(*settings: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text(*settings)) if document]


def pod_specs(documents: list[Manifest]) -> list[Any]:
    return [d["spec"]["template"]["spec"] for d in documents if d["kind"] in ("Deployment", "StatefulSet")]


def test_manifests_match_the_kubernetes_schemas() -> None:
    kubeconform, schemas = tool("kubeconform"), os.environ.get("KUBECONFORM_SCHEMAS")
    if kubeconform is None:
        pytest.skip("kubeconform not found: put it on PATH, or set KUBECONFORM to its path")
    location = (
        [f"-schema-location={schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"] if schemas else []
    )
    done = subprocess.run(
        [kubeconform, "-strict", *location],
        input=text(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_lint_finds_nothing() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("part", PARTS)
def test_a_part_can_be_disabled_alone(part: str) -> None:
    left = {document["metadata"]["name"] for document in objects(f"{part}.enabled=false")}
    assert not any(name.startswith(f"platform-{part}") for name in left)
    for other in PARTS:
        assert (f"platform-{other}" in left) is (other != part)


@pytest.mark.parametrize("part", PARTS)
def test_the_image_of_a_part_is_pinned_and_can_be_replaced(part: str) -> None:
    image = f"{part}.image"
    replaced = [
        f"{image}.repository=registry.example.com/x",
        f"{image}.tag=t7",
        f"{image}.pullPolicy=Always",
    ]
    images = [c["image"] for spec in pod_specs(objects()) for c in spec["containers"]]
    assert not any(image.endswith(":latest") or ":" not in image for image in images)
    theirs = [
        (c["image"], c["imagePullPolicy"])
        for spec in pod_specs(objects(*replaced))
        for c in spec["containers"] + spec.get("initContainers", [])
    ]
    assert ("registry.example.com/x:t7", "Always") in theirs


def test_every_pod_meets_the_restricted_pod_security_standard() -> None:
    specs = pod_specs(objects())
    assert len(specs) == len(PARTS)
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_a_part_with_an_existing_secret_creates_none() -> None:
    made = {
        document["metadata"]["name"]
        for document in objects(
            *(f"{part}.existingSecret=mine" for part in ("postgresql", "airflow", "grafana")),
            "warehouse.secret.create=false",
        )
        if document["kind"] == "Secret"
    }
    assert made == set()


def test_passwords_are_only_in_secrets_and_differ_in_every_rendering() -> None:
    passwords = []
    for _ in range(2):
        documents = objects()
        secrets = [document for document in documents if document["kind"] == "Secret"]
        others = yaml.safe_dump([document for document in documents if document["kind"] != "Secret"])
        values = [
            value
            for secret in secrets
            for key, value in secret["stringData"].items()
            if key != "WAREHOUSE_DSN"
        ]
        assert len(values) == 4
        assert not any(value in others for value in values)
        passwords += values
    assert len(set(passwords)) == len(passwords)


def test_a_typo_is_refused() -> None:
    done = helm("template", "platform", str(CHART), "--set=kafka.enable=false")
    assert done.returncode != 0
    assert "enable" in done.stderr


def test_the_pods_of_the_dags_run_in_the_namespace_of_the_releases() -> None:
    (config,) = (
        yaml.safe_load(document["data"]["data2excel.yaml"])
        for document in objects("airflow.data2excel.mrfs.mrf2.output_claim=elsewhere")
        if document["kind"] == "ConfigMap" and "data2excel.yaml" in document["data"]
    )
    assert config["defaults"]["namespace"] == "crm-bot"
    assert config["defaults"]["output_claim"] == "{mrf}-workbooks"
    assert config["mrfs"]["mrf1"] == {"title": "Центр", "timezone": "Europe/Moscow"}
    assert config["mrfs"]["mrf2"]["output_claim"] == "elsewhere"
    assert config["russia"]["output_claim"] == "mrf1-workbooks"
