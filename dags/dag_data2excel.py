"""The DAGs that save the Excel dashboards: data2excel_mrf1 … data2excel_mrf7, then data2excel_russia.

The MRFs, their schedules and their pods' settings are in data2excel.yaml beside this file, or in the file
named by the environment variable DATA2EXCEL_CONFIG.
"""

import json
import logging
import os
import urllib.request
from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, Asset, Connection, CronDataIntervalTimetable
from data2excel_config import ExportConfig, PodConfig, load, report_day
from kubernetes.client import models as k8s

STREAMS = ("actions", "nature")
RUN_ID = "{{ run_id }}"
REPORT_DAY = "{{ report_day(dag_run) }}"
ALERT_SECONDS = 10

MRF_DOC = """\
### Excel dashboards of {mrf} ({title})

Saves `actions_{mrf}.xlsx` and `nature_{mrf}.xlsx` to `{config.output_dir}` on the volume
`{config.output_claim}`, by the schedule `{config.schedule}` in {config.timezone}, and a copy of each in the
folder of its month, such as `2026-03/`.

| task | what it does |
| --- | --- |
| `marts` | builds the marts in the warehouse and publishes them |
| `export_actions`, `export_nature` | lay the marts out as workbooks, in a folder of the run's own |
| `publish` | puts both workbooks in their place; then `crmbot_workbooks_{mrf}` is updated |

A run reports on the month up to the day before its data interval ends. A backfill of the runs of a past month
therefore gives that month's workbooks, and neither marts nor workbooks of a later day are replaced by it.

Each task runs `crmbot-exporter` in a pod in the namespace `{config.namespace}`. Any task can be cleared and
run again at any time. The pod of a failed try is kept: `kubectl logs` and `kubectl describe` still show it.
"""

RUSSIA_DOC = """\
### Excel dashboard of all MRFs

Saves `russia.xlsx` to `{config.output_dir}` on the volume `{config.output_claim}` once all MRFs have
published since the last time: {mrfs}. It reads the marts that they have published, in a pod in the namespace
`{config.namespace}`.
"""


def certificates(config: PodConfig) -> dict[str, tuple[k8s.V1Volume, dict[str, str]]]:
    """Return the warehouse's certificates: volume and libpq variables by mount path."""
    found = {}
    if ca := config.warehouse_ca:
        path = "/etc/crmbot/warehouse"
        volume = k8s.V1Volume(
            name="warehouse-ca",
            config_map=k8s.V1ConfigMapVolumeSource(name=ca.config_map) if ca.config_map else None,
            secret=k8s.V1SecretVolumeSource(secret_name=ca.secret) if ca.secret else None,
        )
        found[path] = (volume, {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": f"{path}/{ca.key}"})
    if config.warehouse_certificate:
        path = "/etc/crmbot/warehouse-certificate"
        # libpq refuses a private key that others can read.
        source = k8s.V1SecretVolumeSource(secret_name=config.warehouse_certificate, default_mode=0o440)
        volume = k8s.V1Volume(name="warehouse-certificate", secret=source)
        found[path] = (volume, {"PGSSLCERT": f"{path}/tls.crt", "PGSSLKEY": f"{path}/tls.key"})
    return found


def pod_task(
    name: str, task_id: str, arguments: list[str], config: PodConfig, outlets: list[Asset] | None = None
) -> KubernetesPodOperator:
    """Return a task whose pod runs `crmbot-exporter`; `name` is the MRF's, or russia."""
    mounted = certificates(config)
    variables = {"OUTPUT_DIR": config.output_dir, "TIMEZONE": config.timezone}
    for _, own in mounted.values():
        variables |= own
    return KubernetesPodOperator(
        task_id=task_id,
        name=f"data2excel-{name}-{task_id.removeprefix('export_')}",
        namespace=config.namespace,
        image=config.image,
        image_pull_policy=config.image_pull_policy,
        cmds=["crmbot-exporter"],
        arguments=arguments,
        env_vars=variables,
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=config.warehouse_secret))],
        volumes=[
            k8s.V1Volume(
                name="output",
                persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(
                    claim_name=config.output_claim
                ),
            ),
            k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource()),
            *(volume for volume, _ in mounted.values()),
        ],
        volume_mounts=[
            k8s.V1VolumeMount(name="output", mount_path=config.output_dir),
            k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108  (the pod's own)
            *(
                k8s.V1VolumeMount(name=volume.name, mount_path=path, read_only=True)
                for path, (volume, _) in mounted.items()
            ),
        ],
        container_resources=k8s.V1ResourceRequirements(
            requests=dict(config.resources.requests), limits=dict(config.resources.limits)
        ),
        labels={
            "app.kubernetes.io/name": "crmbot-exporter",
            "app.kubernetes.io/part-of": "crm-bot",
            "app.kubernetes.io/instance": name,
        },
        # Pod Security level `restricted`; the image sets the user id.
        security_context=k8s.V1PodSecurityContext(
            run_as_non_root=True,
            fs_group=config.fs_group,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        container_security_context=k8s.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=k8s.V1Capabilities(drop=["ALL"]),
        ),
        service_account_name=config.service_account,
        automount_service_account_token=False,
        # The triggerer watches the running pod, which occupies no worker.
        deferrable=True,
        # A pod outlives its worker: the next try reattaches to it instead of starting a second one.
        durable=True,
        on_finish_action="delete_succeeded_pod",
        get_logs=True,
        log_events_on_failure=True,
        # The container's last lines become the task's error.
        termination_message_policy="FallbackToLogsOnError",
        startup_timeout_seconds=300,  # includes pulling the image
        outlets=outlets,
    )


def tell_failure(context: Mapping[str, Any], connection_id: str | None) -> None:
    """Log a task's final failure, and post it to the webhook of `connection_id` if set."""
    task = context["ti"]
    text = f"{task.dag_id}, run {task.run_id}: {task.task_id} failed: {context.get('exception')}"
    log = logging.getLogger(__name__)
    log.error(text)
    if connection_id is None:
        return
    connection = Connection.get(connection_id)
    url = f"{connection.host}{connection.password or ''}"
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  (an operator's URL)
    try:
        with urllib.request.urlopen(request, timeout=ALERT_SECONDS):  # noqa: S310
            pass
    except OSError as error:
        # The URL is a secret and stays out of the log.
        log.error("the webhook of %s is unreachable: %s", connection_id, type(error).__name__)


def default_args(config: PodConfig) -> dict[str, Any]:
    """Return the arguments of every task: owner, retries, time limit, and the alert when one fails."""
    return {
        "owner": config.owner,
        "retries": config.retries,
        "retry_delay": timedelta(minutes=config.retry_delay_minutes),
        "execution_timeout": timedelta(minutes=config.timeout_minutes),
        "on_failure_callback": partial(tell_failure, connection_id=config.alert_connection),
    }


def workbooks_of(name: str) -> Asset:
    """Return the asset that publishing workbooks updates."""
    return Asset(f"crmbot_workbooks_{name}")


def mrf_dag(mrf: str, config: ExportConfig) -> DAG:
    """Return the DAG that saves both workbooks of one MRF."""

    def day_of(dag_run: Any) -> date:  # noqa: ANN401  (a DagRun, as in templates)
        return report_day(dag_run.data_interval_end or dag_run.run_after, config.timezone)

    run = ["--mrf", mrf, "--run-id", RUN_ID]
    with DAG(
        dag_id=f"data2excel_{mrf}",
        dag_display_name=f"data2excel {mrf} {config.title}",
        description=f"Excel dashboards of {config.title}",
        doc_md=MRF_DOC.format(mrf=mrf, title=config.title, config=config),
        schedule=CronDataIntervalTimetable(config.schedule, timezone=config.timezone),
        start_date=pendulum.datetime(*config.start_date.timetuple()[:3], tz=config.timezone),
        catchup=config.catchup,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=config.deadline_minutes),
        tags=["crm-bot", "data2excel", mrf],
        user_defined_macros={"report_day": day_of},
        default_args=default_args(config),
    ) as dag:
        marts = pod_task(mrf, "marts", ["marts", *run, "--day", REPORT_DAY], config)
        publish = pod_task(mrf, "publish", ["publish", *run], config, [workbooks_of(mrf)])
        for stream in STREAMS:
            arguments = ["export", *run, "--day", REPORT_DAY, "--stream", stream, "--data", config.data_rows]
            marts >> pod_task(mrf, f"export_{stream}", arguments, config) >> publish
    return dag


def russia_dag(mrfs: list[str], config: PodConfig) -> DAG:
    """Return the DAG that saves the workbook of all MRFs after each of them has published."""
    with DAG(
        dag_id="data2excel_russia",
        dag_display_name=f"data2excel {config.title}",
        description="Excel dashboard of all MRFs side by side",
        doc_md=RUSSIA_DOC.format(config=config, mrfs=", ".join(mrfs)),
        schedule=[workbooks_of(mrf) for mrf in mrfs],
        start_date=pendulum.datetime(2026, 1, 1, tz=config.timezone),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=config.deadline_minutes),
        tags=["crm-bot", "data2excel", "russia"],
        default_args=default_args(config),
    ) as dag:
        arguments = ["export-russia", "--mrfs", ",".join(mrfs)]
        pod_task("russia", "export_russia", arguments, config, [workbooks_of("russia")])
    return dag


config_path = Path(os.environ.get("DATA2EXCEL_CONFIG") or Path(__file__).with_name("data2excel.yaml"))
configuration = load(config_path)
for mrf_name, mrf_config in configuration.mrfs.items():
    mrf_dag(mrf_name, mrf_config)
if configuration.russia:
    russia_dag(list(configuration.mrfs), configuration.russia)
