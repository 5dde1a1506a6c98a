"""The effect of values on the rendered objects."""

import re
from pathlib import Path

import pytest
import yaml

from crmbot_consumer.group import group_id
from tests.chart.rendering import CHART, DEFAULT, Rendered, dashboard, helm, secrets_of, text

CI = CHART / "ci"
STREAMS = ("actions", "nature")


def test_the_objects_of_a_release() -> None:
    rendered = Rendered()
    assert rendered.names("StatefulSet") == {"mrf1-bot"}
    assert rendered.names("Deployment") == {"mrf1-consumer-actions", "mrf1-consumer-nature", "mrf1-exporter"}
    assert rendered.names("Job") == {"mrf1-topics", "mrf1-migrate"}
    assert rendered.names("CronJob") == {"mrf1-maintain"}
    assert rendered.names("Pod") == {"mrf1-audit"}
    assert rendered.names("PersistentVolumeClaim") == {"mrf1-workbooks"}
    assert rendered.names("ServiceAccount") == {"mrf1-bot", "mrf1-consumer", "mrf1-exporter"}
    containers = [container["name"] for container in rendered.pod("mrf1-bot")["containers"]]
    assert containers == ["generator", "producer-actions", "producer-nature"]


def test_the_objects_of_a_minimal_release() -> None:
    rendered = Rendered(CI / "minimal-values.yaml")
    assert rendered.kinds() == {"ConfigMap", "Deployment", "Pod", "Service", "ServiceAccount", "StatefulSet"}
    assert rendered.names("Deployment") == {"mrf1-consumer-actions", "mrf1-consumer-nature"}
    assert rendered.names("ServiceAccount") == {"mrf1-bot", "mrf1-consumer"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('mrf="MRF1"', "mrf"),
        ("consumer.replica=3", "replica"),
        ("consumer.replicas.action=3", "action"),
        ("generator.backfill.row=3", "row"),
        ("networkPolicy.kafka.port=9092", "port"),
        ("metrics.podMonitor.enable=true", "enable"),
        ("exporter.workbooks.sise=1Gi", "sise"),
        ("bot.pod.nodeselector.a=b", "nodeselector"),
        ("consumer.resources.limit.memory=1Gi", "limit"),
        ("topics.partitions=0", "partitions"),
        ("maintain.foldDay=3", "foldDay"),
        ("maintain.foldDays=0", "foldDays"),
        ("kafka.config.security=SSL", "security"),
        ("kafka.config.KAFKA_SASL_PASSWORD=x", "KAFKA_SASL_PASSWORD"),
        ("warehouse.dsn=host=x password=y", "dsn"),
        ("warehouse.dsn=postgresql://user:secret@host/db", "dsn"),
    ],
)
def test_a_typo_or_a_secret_is_refused_by_name(value: str, message: str) -> None:
    done = helm("template", "mrf1", str(CHART), f"--values={DEFAULT}", f"--set={value}")
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("warehouse.existingSecret=warehouse", "kafka: set bootstrapServers"),
        ("kafka.existingSecret=kafka", "warehouse: set dsn"),
    ],
)
def test_missing_values_are_named(given: str, message: str) -> None:
    done = helm("template", "mrf1", str(CHART), "--set=mrf=mrf1", f"--set={given}")
    assert done.returncode != 0
    assert message in done.stderr


def test_topics_come_before_tables_and_both_before_the_release() -> None:
    rendered = Rendered()
    weights = {}
    for document in rendered.objects:
        annotations = document["metadata"].get("annotations", {})
        if annotations.get("helm.sh/hook") == "pre-install,pre-upgrade":
            weights[document["kind"], document["metadata"]["name"]] = int(annotations["helm.sh/hook-weight"])
    config, policy = (
        weights.pop(("ConfigMap", "mrf1-hooks-config")),
        weights.pop(("NetworkPolicy", "mrf1-hooks")),
    )
    assert weights[("Job", "mrf1-topics")] < weights[("Job", "mrf1-migrate")]
    assert max(config, policy) < weights[("Job", "mrf1-topics")]
    assert len(weights) == 2
    # The Jobs use only hooks and the user's objects: the release's own objects do not exist yet.
    for name in ("topics", "migrate"):
        container = rendered.container(f"mrf1-{name}", name)
        assert container["envFrom"][0] == {"configMapRef": {"name": "mrf1-hooks-config"}}
        assert "serviceAccountName" not in rendered.pod(f"mrf1-{name}")
    hooks, own = (rendered.one("ConfigMap", f"mrf1-{name}")["data"] for name in ("hooks-config", "config"))
    assert hooks == own


def test_the_owner_maintains_nightly_and_reorganizes_if_scheduled() -> None:
    rendered = Rendered(
        CI / "sasl-values.yaml", maintain='{"foldDays": 3, "reorganizeSchedule": "30 2 * * 0"}'
    )
    commands = {"maintain": ["maintain"], "reorganize": ["maintain", "--reorganize"]}
    assert rendered.names("CronJob") == {f"mrf1-{name}" for name in commands}
    for name, args in commands.items():
        spec = rendered.one("CronJob", f"mrf1-{name}")["spec"]
        assert spec["schedule"] == {"maintain": "30 3 * * *", "reorganize": "30 2 * * 0"}[name]
        assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Europe/Moscow", "Forbid")
        (rule,) = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
        assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2, 3])
        assert rule["onExitCodes"]["containerName"] == name
        container = rendered.container(f"mrf1-{name}", name)
        assert container["args"] == args
        assert secrets_of(container) == ["warehouse-owner"]
        assert "warehouse-ca" in {volume["name"] for volume in rendered.pod(f"mrf1-{name}")["volumes"]}
    assert rendered.one("ConfigMap", "mrf1-config")["data"]["FOLD_DAYS"] == "3"


def test_an_upgrade_repartitions_each_stream_if_enabled() -> None:
    rendered = Rendered(CI / "sasl-values.yaml", topics__repartition="true")
    topics = rendered.one("Job", "mrf1-topics")["metadata"]["annotations"]
    for stream in STREAMS:
        name = f"repartition-{stream}"
        annotations = rendered.one("Job", f"mrf1-{name}")["metadata"]["annotations"]
        # Before an installation there is no bot's file.
        assert annotations["helm.sh/hook"] == "pre-upgrade"
        assert int(annotations["helm.sh/hook-weight"]) > int(topics["helm.sh/hook-weight"])
        container = rendered.container(f"mrf1-{name}", name)
        assert container["args"] == ["repartition"]
        assert {"name": "STREAM", "value": stream} in container["env"]
        assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
        assert secrets_of(container) == ["kafka-crm-bot", "warehouse-auditor"]
        volumes = {volume["name"]: volume for volume in rendered.pod(f"mrf1-{name}")["volumes"]}
        assert volumes["data"]["persistentVolumeClaim"] == {"claimName": "data-mrf1-bot-0"}
        assert {"kafka-ca", "warehouse-ca"} <= volumes.keys()


def test_an_upgrade_runs_the_commands_of_a_recovery_in_order() -> None:
    rendered = Rendered(CI / "recovery-values.yaml")
    commands = (("consumer", "adopt-topic"), ("producer", "resend"))
    weights = []
    for index, (service, command) in enumerate(commands):
        name = f"recovery-{index}"
        annotations = rendered.one("Job", f"mrf1-{name}")["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-upgrade"
        weights.append(int(annotations["helm.sh/hook-weight"]))
        container = rendered.container(f"mrf1-{name}", name)
        assert f"crmbot-{service}:" in container["image"]
        assert container["args"] == [command]
        assert container["env"] == [{"name": "STREAM", "value": "actions"}]
        has_data = {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
        assert has_data == (service == "producer")
    assert weights == sorted(weights)


def test_a_changed_setting_rolls_the_pods_that_read_it() -> None:
    def checksums(**values: str) -> set[str]:
        pods = Rendered(DEFAULT, **values).pods()
        return {p["metadata"].get("annotations", {}).get("checksum/config") for _, p in pods} - {None}

    (before,) = checksums()
    (after,) = checksums(consumer__batchRows="5000")
    assert before != after
    assert checksums(title='"Центр"') == {before}


@pytest.mark.parametrize(("drain", "grace"), [("20", 45), ("0.5", 26), ("300", 325)])
def test_the_consumers_have_time_to_drain(drain: str, grace: int) -> None:
    rendered = Rendered(DEFAULT, consumer__drainSeconds=drain)
    assert rendered.pod("mrf1-consumer-actions")["terminationGracePeriodSeconds"] == grace
    assert rendered.one("ConfigMap", "mrf1-config")["data"]["DRAIN_SECONDS"] == drain


def test_one_consumer_per_partition_by_default() -> None:
    def replicas(**values: str) -> list[int]:
        rendered = Rendered(DEFAULT, topics__partitions="7", **values)
        return [rendered.one("Deployment", f"mrf1-consumer-{s}")["spec"]["replicas"] for s in STREAMS]

    assert replicas() == [7, 7]
    assert replicas(consumer__replicas__actions="2") == [2, 7]
    assert replicas(consumer__replicas__nature="0") == [7, 0]


@pytest.mark.parametrize("stream", STREAMS)
def test_keda_scales_on_the_group_and_the_topic_of_the_stream(stream: str) -> None:
    rendered = Rendered(CI / "keda-values.yaml")
    spec = rendered.one("ScaledObject", f"mrf1-consumer-{stream}")["spec"]
    deployment = rendered.one("Deployment", spec["scaleTargetRef"]["name"])
    assert "replicas" not in deployment["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 6)
    (trigger,) = spec["triggers"]
    assert trigger["metadata"] == {
        "bootstrapServers": "kafka.crm-bot.svc:9092,kafka2.example.com:9093",
        "topic": f"crm_bot_{stream}_mrf1",
        "consumerGroup": f"crmbot-consumer-crm_bot_{stream}_mrf1",
        "lagThreshold": "20000",
        "offsetResetPolicy": "earliest",
        "sasl": "scram_sha512",
        "tls": "enable",
    }
    assert trigger["metadata"]["consumerGroup"] == group_id(trigger["metadata"]["topic"])
    authentication = rendered.one("TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
    assert authentication["secretTargetRef"] == [
        {"parameter": "username", "name": "kafka-crm-bot", "key": "KAFKA_SASL_USERNAME"},
        {"parameter": "password", "name": "kafka-crm-bot", "key": "KAFKA_SASL_PASSWORD"},
    ]
    assert authentication["configMapTargetRef"] == [
        {"parameter": "ca", "name": "corporate-ca", "key": "ca.crt"}
    ]


def test_keda_uses_a_certificate_or_an_existing_authentication() -> None:
    rendered = Rendered(CI / "keda-values.yaml", kafka__config__KAFKA_SECURITY_PROTOCOL='"SSL"')
    targets = rendered.one("TriggerAuthentication", "mrf1-kafka")["spec"]["secretTargetRef"]
    assert [target["key"] for target in targets] == ["KAFKA_SSL_CERTIFICATE_PEM", "KAFKA_SSL_KEY_PEM"]
    rendered = Rendered(
        CI / "keda-values.yaml",
        consumer__autoscaling__authentication__create="false",
        consumer__autoscaling__authentication__ref='"of-the-platform"',
    )
    (trigger,) = rendered.one("ScaledObject", "mrf1-consumer-nature")["spec"]["triggers"]
    assert trigger["authenticationRef"] == {"name": "of-the-platform"}
    assert "TriggerAuthentication" not in rendered.kinds()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "consumer.autoscaling.authentication.create=false",
            "set consumer.autoscaling.authentication.create",
        ),
        ("kafka.bootstrapServers=", "consumer.autoscaling needs kafka.bootstrapServers"),
    ],
)
def test_missing_values_of_keda_are_named(value: str, message: str) -> None:
    done = helm("template", "mrf1", str(CHART), f"--values={CI / 'keda-values.yaml'}", f"--set={value}")
    assert done.returncode != 0
    assert message in done.stderr


def test_ca_files_are_mounted_where_the_clients_look() -> None:
    rendered = Rendered(CI / "sasl-values.yaml")
    settings = rendered.one("ConfigMap", "mrf1-config")["data"]
    spec, container = (
        rendered.pod("mrf1-consumer-actions"),
        rendered.container("mrf1-consumer-actions", "consumer"),
    )
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    kafka, _, kafka_file = settings["KAFKA_SSL_CA_LOCATION"].rpartition("/")
    warehouse, _, warehouse_file = settings["PGSSLROOTCERT"].rpartition("/")
    assert (kafka_file, warehouse_file) == ("ca.crt", "root.pem")
    assert volumes[mounts[kafka]]["secret"] == {"secretName": "kafka-ca"}
    assert volumes[mounts[warehouse]]["configMap"] == {"name": "corporate-ca"}
    assert settings["PGSSLMODE"] == "verify-full"
    assert "PGSSLCERT" not in settings
    assert container["image"] == "registry.example.com/sales/crmbot-consumer:1.2.3"
    assert spec["imagePullSecrets"] == [{"name": "registry-login"}]


def test_each_role_has_its_own_client_certificate_for_the_warehouse() -> None:
    rendered = Rendered(CI / "sasl-values.yaml", warehouse__clientCertificate__auditSecret='""')
    pods = {
        ("mrf1-consumer-actions", "consumer"): "loader-tls",
        ("mrf1-migrate", "migrate"): "owner-tls",
        ("mrf1-maintain", "maintain"): "owner-tls",
        ("mrf1-audit", "audit"): "loader-tls",
        ("mrf1-bot", "producer-actions"): "loader-tls",
    }
    for (pod, name), secret in pods.items():
        container = rendered.container(pod, name)
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in rendered.pod(pod)["volumes"]}
        env = {variable["name"]: variable["value"] for variable in container["env"]}
        (folder,) = {env[name].rpartition("/")[0] for name in ("PGSSLCERT", "PGSSLKEY")}
        assert volumes[mounts[folder]]["secret"] == {"secretName": secret, "defaultMode": 0o440}
    sending = rendered.container("mrf1-bot", "producer-nature")
    assert "warehouse-certificate" not in {mount["name"] for mount in sending["volumeMounts"]}


def test_a_real_bot_replaces_the_generator() -> None:
    rendered = Rendered(CI / "real-bot-values.yaml")
    spec = rendered.pod("mrf1-bot")
    assert [c["name"] for c in spec["containers"]] == ["producer-actions", "producer-nature", "bot"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "bot-files"}} in spec["volumes"]
    assert "volumeClaimTemplates" not in rendered.one("StatefulSet", "mrf1-bot")["spec"]
    audit = rendered.pod("mrf1-audit")
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "bot-files"}} in audit["volumes"]


def test_a_backfill_runs_once_before_the_bot_starts() -> None:
    rendered = Rendered(CI / "backfill-values.yaml")
    (container,) = rendered.pod("mrf1-bot")["initContainers"]
    assert container["args"] == ["backfill", "--if-new", "--rows", "180000", "--days", "30"]
    assert "initContainers" not in Rendered().pod("mrf1-bot")


def test_the_audit_runs_where_the_files_are() -> None:
    rendered = Rendered(CI / "placement-values.yaml")
    audit, bot = rendered.pod("mrf1-audit"), rendered.one("StatefulSet", "mrf1-bot")
    (term,) = audit["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"] == bot["spec"]["selector"]["matchLabels"]
    assert audit["nodeSelector"] == rendered.pod("mrf1-bot")["nodeSelector"]


def test_custom_placement_labels_variables_and_volumes() -> None:
    rendered = Rendered(CI / "placement-values.yaml")
    for name, template in rendered.pods():
        spec = template["spec"]
        assert template["metadata"]["labels"]["team"] == "sales", name
        assert template["metadata"]["annotations"]["example.com/cost"] == "sales", name
        assert spec["priorityClassName"] == "high", name
        assert spec["tolerations"] == [{"key": "sales", "operator": "Exists"}], name
        mounts = [mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]]
        assert mounts.count("extra") == len(spec["containers"]), name
    disk = {"example.com/disk": "ssd"}
    assert rendered.pod("mrf1-bot")["nodeSelector"] == {"kubernetes.io/os": "linux"} | disk
    assert rendered.pod("mrf1-exporter")["nodeSelector"] == {"kubernetes.io/os": "linux"}
    consumer = rendered.container("mrf1-consumer-actions", "consumer")
    assert {"name": "KAFKA_FETCH_WAIT_MAX_MS", "value": "500"} in consumer["env"]
    (spread,) = rendered.pod("mrf1-consumer-actions")["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    (claim,) = rendered.one("StatefulSet", "mrf1-bot")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "local"
    workbooks = rendered.one("PersistentVolumeClaim", "mrf1-workbooks")
    assert workbooks["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_workbooks_outlive_the_release_by_default() -> None:
    def annotations(**values: str) -> dict[str, str]:
        claim = Rendered(DEFAULT, **values).one("PersistentVolumeClaim", "mrf1-workbooks")
        found: dict[str, str] = claim["metadata"].get("annotations", {})
        return found

    assert annotations() == {"helm.sh/resource-policy": "keep"}
    assert annotations(exporter__workbooks__retain="false") == {}


def test_airflow_may_run_pods_in_the_namespace_and_nothing_else() -> None:
    rendered = Rendered(DEFAULT, airflow__serviceAccounts='[{"name": "a", "namespace": "b"}, {"name": "c"}]')
    rules = {tuple(r["resources"]): r["verbs"] for r in rendered.one("Role", "mrf1-airflow")["rules"]}
    assert rules.keys() == {("pods",), ("pods/log",), ("events",)}
    assert {"create", "get", "list", "watch", "patch", "delete"} == set(rules["pods",])
    subjects = rendered.one("RoleBinding", "mrf1-airflow")["subjects"]
    assert [(s["name"], s["namespace"]) for s in subjects] == [("a", "b"), ("c", "crm-bot")]


def test_the_notes_hold_the_mrfs_entry_for_the_dags() -> None:
    template = (CHART / "templates" / "_helpers.tpl").read_text(encoding="utf-8")
    entry = template[template.index('{{- define "crm-bot.dagEntry" -}}') :]
    keys = set(re.findall(r"^  (\w+): ", entry, re.MULTILINE))
    shipped = (CHART.parents[1] / "dags" / "data2excel.yaml").read_text(encoding="utf-8")
    known = set(re.findall(r"^  (?:# )?(\w+): ", shipped, re.MULTILINE))
    assert keys <= known | yaml.safe_load(shipped)["mrfs"]["mrf1"].keys()
    assert {"title", "timezone", "service_account", "output_claim", "warehouse_secret", "namespace"} <= keys


def test_pods_are_annotated_for_a_prometheus_without_the_operator() -> None:
    def annotated(*files: Path) -> set[str]:
        key = "prometheus.io/scrape"
        return {
            n for n, p in Rendered(*files).pods() if p["metadata"].get("annotations", {}).get(key) == "true"
        }

    assert annotated(DEFAULT) == {
        "mrf1-bot",
        "mrf1-consumer-actions",
        "mrf1-consumer-nature",
        "mrf1-exporter",
    }
    assert annotated(CI / "monitoring-values.yaml") == set()


def test_the_pod_monitor_scrapes_every_port() -> None:
    rendered = Rendered(CI / "monitoring-values.yaml")
    monitor = rendered.one("PodMonitor", "mrf1")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    asked = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    ports = set()
    for name, template in rendered.pods():
        for container in template["spec"]["containers"]:
            for port in container.get("ports", []):
                ports.add(port["name"])
                selected = monitor["spec"]["selector"]["matchLabels"].items()
                assert selected <= template["metadata"]["labels"].items(), name
    assert asked == ports


def test_each_release_has_its_own_dashboard() -> None:
    rendered = Rendered(CI / "monitoring-values.yaml", title='"Центр"')
    config = rendered.one("ConfigMap", "mrf1-dashboard")["metadata"]
    assert config["labels"]["grafana_dashboard"] == "1"
    assert config["annotations"] == {"grafana_folder": "Sales"}
    found = dashboard(rendered)
    assert (found["uid"], found["title"]) == ("crmbot-mrf1", "MRF end to end: mrf1 Центр")
    (variable,) = (v for v in found["templating"]["list"] if v["name"] == "mrf")
    assert variable["current"] == {"text": "mrf1", "value": "mrf1"}


def test_queried_metrics_exist() -> None:
    made = set()
    for file in CHART.parents[1].glob("services/*/src/**/*.py"):
        made |= set(re.findall(r'"(crmbot_[a-z_]+)"', file.read_text(encoding="utf-8")))
    panels = [p for p in dashboard(Rendered())["panels"] if p["type"] != "row"]
    expressions = {p["title"]: " ".join(target["expr"] for target in p["targets"]) for p in panels}
    (group,) = Rendered(CI / "monitoring-values.yaml").one("PrometheusRule", "mrf1")["spec"]["groups"]
    expressions |= {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert len(expressions) > 15
    for name, expression in expressions.items():
        asked = {re.sub(r"_(bucket|sum|count)$", "", m) for m in re.findall(r"crmbot_[a-z_]+", expression)}
        assert asked, name
        assert asked <= made, name


def test_rendering_is_deterministic() -> None:
    assert text.__wrapped__(DEFAULT) == text.__wrapped__(DEFAULT)
