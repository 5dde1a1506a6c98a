"""The NetworkPolicies are enforced, and allow what is needed."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.kube import CommandError, execute, kubectl, run
from tests.cluster.release import Release

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()"
PROBES = {
    "unknown": {},
    "scraper": {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/instance": "platform"},
}


def connects(pod: str, host: str, port: int) -> bool:
    try:
        execute(pod, "python", "-c", CONNECT, host, str(port))
    except CommandError as error:
        if "TimeoutError" not in str(error):  # a policy drops packets; any other error has another cause
            raise
        return False
    return True


@pytest.fixture(scope="module")
def probes(mrf1: Release) -> Iterator[None]:
    """Idle pods: one without known labels, and one with those of Prometheus."""
    (bot,) = mrf1.pods("bot")
    container = {
        "name": "probe",
        "image": bot["spec"]["containers"][-1]["image"],
        "command": ["sleep", "infinity"],
        "securityContext": bot["spec"]["containers"][-1]["securityContext"],
    }
    for name, labels in PROBES.items():
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"probe-{name}", "labels": labels | {"crm-bot.test": "probe"}},
            "spec": {
                "containers": [container],
                "securityContext": bot["spec"]["securityContext"],
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
            },
        }
        run("kubectl", "--namespace", "crm-bot", "apply", "--filename=-", stdin=json.dumps(pod))
    kubectl("wait", "pod", "--selector=crm-bot.test=probe", "--for=condition=Ready", "--timeout=60s")
    yield
    kubectl("delete", "pod", "--selector=crm-bot.test=probe")


@pytest.mark.parametrize("component", ["bot", "consumer-actions", "exporter"])
def test_only_prometheus_reaches_the_metrics(component: str, probes: None, mrf1: Release) -> None:
    address = mrf1.pods(component)[0]["status"]["podIP"]
    assert connects("probe-scraper", address, 9108)
    assert not connects("probe-unknown", address, 9108)


def test_a_consumer_reaches_only_kafka_and_the_warehouse(mrf1: Release) -> None:
    consumer = "deploy/mrf1-consumer-actions"
    assert connects(consumer, "platform-kafka", 9092)
    assert connects(consumer, "platform-postgresql", 5432)
    assert not connects(consumer, "platform-airflow", 8080)
    assert not connects(consumer, mrf1.pods("bot")[0]["status"]["podIP"], 9108)
