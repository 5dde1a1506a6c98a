"""One DAG per MRF that saves its Excel dashboards: data2excel_mrf1 … data2excel_mrf7.

The MRFs, their schedules and their pods' settings are in data2excel.yaml beside this file, or where the
environment variable DATA2EXCEL_CONFIG says.
"""

import os
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, CronTriggerTimetable
from data2excel_config import ExportConfig, load
from kubernetes.client import models as k8s

STREAMS = ("actions", "nature")

DOC = """\
### Excel dashboards of {mrf} ({title})

Saves `actions_{mrf}.xlsx` and `nature_{mrf}.xlsx` to `{config.output_dir}` on the volume
`{config.output_claim}`, by the schedule `{config.schedule}` in {config.timezone}.

Each task runs `crmbot-exporter` in a pod in the namespace `{config.namespace}`: it builds the marts in the
warehouse and lays them out as a workbook. A workbook is replaced only when the new one is whole, so a task
can be cleared and run again at any time. The pod of a failed try is kept: `kubectl logs` and
`kubectl describe` still show it.
"""


def export_task(mrf: str, stream: str, config: ExportConfig) -> KubernetesPodOperator:
    """Return the task whose pod saves the workbook of one stream."""
    return KubernetesPodOperator(
        task_id=f"export_{stream}",
        name=f"data2excel-{mrf}-{stream}",
        namespace=config.namespace,
        image=config.image,
        image_pull_policy=config.image_pull_policy,
        cmds=["crmbot-exporter"],
        arguments=["export", "--mrf", mrf, "--stream", stream],
        env_vars={"OUTPUT_DIR": config.output_dir, "TIMEZONE": config.timezone},
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=config.warehouse_secret))],
        volumes=[
            k8s.V1Volume(
                name="output",
                persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(
                    claim_name=config.output_claim
                ),
            ),
            k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource()),
        ],
        volume_mounts=[
            k8s.V1VolumeMount(name="output", mount_path=config.output_dir),
            k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),
        ],
        container_resources=k8s.V1ResourceRequirements(
            requests=dict(config.resources.requests), limits=dict(config.resources.limits)
        ),
        labels={
            "app.kubernetes.io/name": "crmbot-exporter",
            "app.kubernetes.io/part-of": "crm-bot",
            "app.kubernetes.io/instance": mrf,
        },
        # The Pod Security level `restricted`; the user's number is the image's.
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
        # A pod outlives its worker: the next try follows it instead of starting a second one.
        durable=True,
        on_finish_action="delete_succeeded_pod",
        get_logs=True,
        log_events_on_failure=True,
        # The container's last lines become the task's error.
        termination_message_policy="FallbackToLogsOnError",
        startup_timeout_seconds=300,  # pulling the image counts
    )


def export_dag(mrf: str, config: ExportConfig) -> DAG:
    """Return the DAG that saves both workbooks of one MRF."""
    with DAG(
        dag_id=f"data2excel_{mrf}",
        dag_display_name=f"data2excel {mrf} {config.title}",
        description=f"Excel dashboards of {config.title}",
        doc_md=DOC.format(mrf=mrf, title=config.title, config=config),
        schedule=CronTriggerTimetable(config.schedule, timezone=config.timezone),
        start_date=pendulum.datetime(2026, 1, 1, tz=config.timezone),
        catchup=False,
        max_active_runs=1,
        tags=["crm-bot", "data2excel", mrf],
        default_args={
            "owner": config.owner,
            "retries": config.retries,
            "retry_delay": timedelta(minutes=config.retry_delay_minutes),
            "execution_timeout": timedelta(minutes=config.timeout_minutes),
        },
    ) as dag:
        for stream in STREAMS:
            export_task(mrf, stream, config)
    return dag


config_path = Path(os.environ.get("DATA2EXCEL_CONFIG") or Path(__file__).with_name("data2excel.yaml"))
for mrf_name, mrf_config in load(config_path).items():
    export_dag(mrf_name, mrf_config)
