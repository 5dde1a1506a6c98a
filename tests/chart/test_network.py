"""NetworkPolicies: traffic is denied by default, and each pod is allowed the connections that it needs."""

import pytest

from tests.chart.rendering import DEFAULT, Manifest, Rendered

KAFKA, WAREHOUSE, DNS = 9092, 5432, 53
# Labels of the pods that Airflow creates: dags/dag_data2excel.py.
EXPORT_RUN = {"app.kubernetes.io/name": "crmbot-exporter", "app.kubernetes.io/instance": "mrf1"}


def policies_of(rendered: Rendered, labels: dict[str, str]) -> list[Manifest]:
    """Return the specs of the policies that select a pod with these labels."""
    return [
        document["spec"]
        for document in rendered.objects
        if document["kind"] == "NetworkPolicy" and _selects(document["spec"]["podSelector"], labels)
    ]


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def ports(specs: list[Manifest], direction: str) -> set[int]:
    """Return the ports that the policies open in a direction."""
    return {port["port"] for spec in specs for rule in spec.get(direction, []) for port in rule["ports"]}


@pytest.mark.parametrize(
    ("pod", "egress", "ingress"),
    [
        ("mrf1-bot", {DNS, KAFKA, WAREHOUSE}, {9108, 9109, 9110}),
        ("mrf1-consumer-actions", {DNS, KAFKA, WAREHOUSE}, {9108}),
        ("mrf1-consumer-nature", {DNS, KAFKA, WAREHOUSE}, {9108}),
        ("mrf1-exporter", set(), {9108}),
        ("mrf1-topics", {DNS, KAFKA, WAREHOUSE}, set()),
        ("mrf1-migrate", {DNS, KAFKA, WAREHOUSE}, set()),
        ("mrf1-repartition-actions", {DNS, KAFKA, WAREHOUSE}, set()),
        ("mrf1-repartition-nature", {DNS, KAFKA, WAREHOUSE}, set()),
        ("mrf1-audit", {DNS, WAREHOUSE}, set()),
        ("mrf1-maintain", {DNS, WAREHOUSE}, set()),
        ("mrf1-reorganize", {DNS, WAREHOUSE}, set()),
        ("a run of the export", {DNS, WAREHOUSE}, set()),
    ],
)
def test_each_pod_may_connect_where_it_needs_to(pod: str, egress: set[int], ingress: set[int]) -> None:
    rendered = Rendered(DEFAULT, topics__repartition="true", maintain__reorganizeSchedule='"30 2 * * 0"')
    labels = {name: template["metadata"]["labels"] for name, template in rendered.pods()}
    specs = policies_of(rendered, labels.get(pod, EXPORT_RUN))
    assert {direction for spec in specs for direction in spec["policyTypes"]} == {"Ingress", "Egress"}
    assert ports(specs, "egress") == egress
    assert ports(specs, "ingress") == ingress


def test_every_pod_is_denied_by_default() -> None:
    rendered = Rendered()
    deny = rendered.one("NetworkPolicy", "mrf1-deny")["spec"]
    assert deny.keys() == {"podSelector", "policyTypes"}
    for name, template in rendered.pods():
        assert _selects(deny["podSelector"], template["metadata"]["labels"]), name


def test_policies_do_not_select_another_release() -> None:
    labels = Rendered().pods()
    for _, template in labels:
        other = template["metadata"]["labels"] | {"app.kubernetes.io/instance": "mrf2"}
        assert policies_of(Rendered(), other) == []


def test_peers_and_ports_can_be_set() -> None:
    peer = '[{"ipBlock": {"cidr": "10.1.2.0/24"}}]'
    rendered = Rendered(
        DEFAULT,
        networkPolicy__kafka=f'{{"ports": [9093, 9094], "to": {peer}}}',
        networkPolicy__monitoring__from='[{"podSelector": {"matchLabels": {"app": "prometheus"}}}]',
    )
    spec = rendered.one("NetworkPolicy", "mrf1-consumer")["spec"]
    (kafka,) = (rule for rule in spec["egress"] if {"port": 9093} in rule["ports"])
    assert kafka == {"ports": [{"port": 9093}, {"port": 9094}], "to": [{"ipBlock": {"cidr": "10.1.2.0/24"}}]}
    assert spec["ingress"][0]["from"] == [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]
