"""Uninstalling an MRF keeps its data and nothing else."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import get, helm, kubectl, until
from tests.cluster.release import Release


@pytest.fixture(scope="module")
def third(installed: None, images: Path) -> Iterator[Release]:
    """A third MRF, whose pods run as an arbitrary user and without an fsGroup."""
    built = json.loads(images.read_text(encoding="utf-8"))["builds"]
    tags = dict(image["tag"].removeprefix("crmbot-").split(":") for image in built)
    # A new MRF at each run: its claims are deleted below, but its topics and tables remain.
    release = Release(f"mrf{random.randrange(100, 1000)}")
    helm(
        *("upgrade", "--install", release.mrf, "charts/crm-bot", "--wait", "--timeout=5m"),
        *("--values=charts/crm-bot/mrf/mrf3.yaml", "--values=charts/platform/crm-bot-values.yaml"),
        *("--values=charts/crm-bot/openshift.yaml", "--set=podSecurityContext.runAsUser=1000660000"),
        f"--set=mrf={release.mrf}",
        *(
            f"--set={name}.image.tag={tags[name]}"
            for name in ("generator", "producer", "consumer", "exporter")
        ),
    )
    release.wait()
    yield release
    helm("uninstall", release.mrf, "--ignore-not-found")
    claims = (f"data-{release.mrf}-bot-0", f"{release.mrf}-workbooks")
    kubectl("delete", "persistentvolumeclaim", *claims, "--ignore-not-found")


def objects_of(release: Release) -> set[str]:
    """Return every object with the release's label, of every kind, as kind/name."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "pods.metrics"))]
    found = get(",".join(kinds), "--selector", f"app.kubernetes.io/instance={release.mrf}")["items"]
    return {f"{item['kind']}/{item['metadata']['name']}" for item in found}


def test_pods_run_as_an_arbitrary_user(third: Release) -> None:
    for pod in third.pods():
        security = pod["spec"]["securityContext"]
        assert security["runAsUser"] == 1000660000
        assert not {"runAsGroup", "fsGroup"} & security.keys()
    third.wait_for_rows(20)
    third.assert_audit_clean()


def test_uninstall_keeps_only_the_claims(third: Release) -> None:
    assert f"StatefulSet/{third.mrf}-bot" in objects_of(third)
    helm("uninstall", third.mrf)
    kept = {f"PersistentVolumeClaim/{name}" for name in (f"data-{third.mrf}-bot-0", f"{third.mrf}-workbooks")}
    until("only its claims are left", lambda: objects_of(third) == kept)
