"""An MRF that goes leaves its data and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import get, helm, kubectl, until
from tests.cluster.release import Release


@pytest.fixture(scope="module")
def mrf3(installed: None, images: Path) -> Iterator[Release]:
    """A third MRF, whose pods run with a user that no image knows and with no group of their volumes."""
    built = json.loads(images.read_text(encoding="utf-8"))["builds"]
    tags = dict(image["tag"].removeprefix("crmbot-").split(":") for image in built)
    release = Release("mrf3")
    helm(
        *("upgrade", "--install", "mrf3", "charts/crm-bot", "--wait", "--timeout=5m"),
        *("--values=charts/crm-bot/mrf/mrf3.yaml", "--values=charts/platform/crm-bot-values.yaml"),
        *("--values=charts/crm-bot/openshift.yaml", "--set=podSecurityContext.runAsUser=1000660000"),
        # A bot like no other before: its claim is deleted below, but Kafka and the warehouse remember it.
        *(
            f"--set={name}.image.tag={tags[name]}"
            for name in ("generator", "producer", "consumer", "exporter")
        ),
    )
    release.wait()
    yield release
    helm("uninstall", "mrf3", "--ignore-not-found")
    kubectl("delete", "persistentvolumeclaim", "data-mrf3-bot-0", "mrf3-workbooks", "--ignore-not-found")


def objects_of(release: Release) -> set[str]:
    """Return every object with the release's label, of every kind, as kind/name."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "pods.metrics"))]
    found = get(",".join(kinds), "--selector", f"app.kubernetes.io/instance={release.mrf}")["items"]
    return {f"{item['kind']}/{item['metadata']['name']}" for item in found}


def test_any_user_will_do(mrf3: Release) -> None:
    for pod in mrf3.pods():
        security = pod["spec"]["securityContext"]
        assert security["runAsUser"] == 1000660000
        assert not {"runAsGroup", "fsGroup"} & security.keys()
    mrf3.must_flow(20)
    mrf3.must_be_clean()


def test_uninstall_keeps_the_claims_alone(mrf3: Release) -> None:
    assert "StatefulSet/mrf3-bot" in objects_of(mrf3)
    helm("uninstall", "mrf3")
    kept = {"PersistentVolumeClaim/data-mrf3-bot-0", "PersistentVolumeClaim/mrf3-workbooks"}
    until("its claims alone are left", lambda: objects_of(mrf3) == kept)
