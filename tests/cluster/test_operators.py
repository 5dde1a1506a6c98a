"""The chart's objects for KEDA and the Prometheus Operator take effect."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.kube import get, helm, is_ready, raw, run, until
from tests.cluster.release import Release

_PROMETHEUS = "/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy/api/v1"
# Fast scaling for the test: the HorizontalPodAutoscaler evaluates the metrics every 15 s.
_BEHAVIOR = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
    },
}
_MONITORING = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
_DEPLOYMENT = "mrf1-consumer-actions"


@pytest.fixture(scope="module")
def operators(installed: None) -> None:
    """Install both operators."""
    install = os.environ.get("INSTALL_OPERATORS")
    if not install:
        pytest.skip(
            "INSTALL_OPERATORS is not set: the command that installs KEDA and the Prometheus Operator"
        )
    run("sh", "-c", install, seconds=600)


@pytest.fixture(scope="module")
def scaled(operators: None, mrf1: Release) -> Iterator[Release]:
    """mrf1 with KEDA, a PodMonitor and a PrometheusRule; its bot is almost idle."""
    values = json.loads(helm("get", "values", "mrf1", "--output=json"))
    of_the_platform = values["networkPolicy"]["monitoring"]["from"]
    mrf1.upgrade(consumer__replicas__actions=2, generator__load=1)
    before = generation()
    mrf1.upgrade(consumer__autoscaling__enabled=True, consumer__autoscaling__minReplicas=2)
    until("the ScaledObject is ready", lambda: is_ready(get("scaledobject", _DEPLOYMENT)))
    assert generation() == before, "enabling KEDA does not change the running consumers"
    mrf1.upgrade(
        consumer__autoscaling__minReplicas=1,
        consumer__autoscaling__lagThreshold=500,
        consumer__autoscaling__behavior=_BEHAVIOR,
        consumer__batchSeconds=10,  # so that there is a lag while the bot writes
        metrics__podMonitor__enabled=True,
        metrics__prometheusRule__enabled=True,
        networkPolicy__monitoring__from=[*of_the_platform, {"namespaceSelector": _MONITORING}],
    )
    yield mrf1
    mrf1.upgrade(
        consumer__autoscaling__enabled=False,
        consumer__replicas__actions=None,
        metrics__podMonitor__enabled=False,
        metrics__prometheusRule__enabled=False,
        networkPolicy__monitoring__from=of_the_platform,
    )


def generation() -> int:
    """Return the generation of the Deployment, which changes with its spec, replicas included."""
    number: int = get("deployment", _DEPLOYMENT)["metadata"]["generation"]
    return number


def replicas() -> int:
    count: int = get("deployment", _DEPLOYMENT)["spec"]["replicas"]
    return count


def prometheus(path: str) -> Any:  # noqa: ANN401  (its responses differ in type)
    return raw(f"{_PROMETHEUS}/{path}")["data"]


def test_consumers_follow_the_lag(scaled: Release) -> None:
    until("without a lag one consumer is left", lambda: replicas() == 1, seconds=180)
    scaled.upgrade(generator__load=400)
    until("with a lag there is one consumer per partition", lambda: replicas() == 3, seconds=180)
    scaled.wait_for_rows()
    scaled.upgrade(generator__load=1)
    until("without a lag one consumer is left", lambda: replicas() == 1, seconds=180)
    scaled.assert_audit_clean()


def test_every_pod_is_scraped(scaled: Release) -> None:
    scraped = {pod["metadata"]["name"] for pod in scaled.pods()} - {
        pod["metadata"]["name"] for pod in scaled.pods() if "job-name" in pod["metadata"]["labels"]
    }

    def up() -> set[str]:
        series = prometheus("query?query=up==1")["result"]
        return {one["metric"]["pod"] for one in series if one["metric"].get("namespace") == "crm-bot"}

    until(f"{scraped} are up", lambda: scraped <= up())


def test_the_alerts_are_loaded(scaled: Release) -> None:
    wanted = {
        rule["alert"] for group in get("prometheusrule", "mrf1")["spec"]["groups"] for rule in group["rules"]
    }

    def loaded() -> set[str]:
        groups = prometheus("rules?type=alert")["groups"]
        return {rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "ok"}

    assert wanted
    until(f"{wanted} are loaded", lambda: wanted <= loaded())
