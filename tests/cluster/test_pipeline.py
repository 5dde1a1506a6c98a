"""Rows arrive from the bots in the warehouse, and the audit is clean."""

from tests.cluster.kube import NAMESPACE, helm, run, until
from tests.cluster.prometheus import Prometheus
from tests.cluster.release import Release


def test_rows_of_both_mrfs_arrive_and_the_audit_is_clean(mrf1: Release, mrf2: Release) -> None:
    for release in (mrf1, mrf2):
        release.wait_for_rows(20)
        release.assert_audit_clean()


def test_helm_test_passes(mrf2: Release) -> None:
    assert "Phase:          Succeeded" in helm("test", mrf2.mrf)


def test_prometheus_scrapes_every_service(mrf1: Release, mrf2: Release, prometheus: Prometheus) -> None:
    def all_up() -> bool:
        targets = [
            (target["labels"]["pod"], target["labels"]["container"])
            for target in prometheus.targets()
            if target["health"] == "up"
        ]
        wanted = [
            (pod["metadata"]["name"], container["name"])
            for release in (mrf1, mrf2)
            for pod in release.pods()
            if pod["status"]["phase"] == "Running"
            for container in pod["spec"]["containers"]
        ]
        return len(wanted) >= 12 and set(wanted) <= set(targets)

    until("all containers of both MRFs are scraped", all_up)


def test_the_namespace_refuses_pods_that_are_not_restricted(installed: None) -> None:
    label = run(
        *("kubectl", "get", "namespace", NAMESPACE),
        "--output=jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}",
    )
    assert label == "restricted"
