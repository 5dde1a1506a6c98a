"""Runs a DAG with Airflow's own `dag.test()` on the stand-in cluster."""

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from .pod_api import PodApi, airflow_connection

if TYPE_CHECKING:
    from airflow.sdk import DAG


def run(dag: "DAG", api: PodApi, logical_date: datetime | None = None) -> str:
    """Run all tasks of the DAG, one try each, and return the run's state: success or failed.

    Its data interval is the last one that had ended at `logical_date`, by default now.
    """
    with pytest.MonkeyPatch.context() as patch:
        for task in dag.tasks:
            patch.setattr(task, "retries", 0)
        patch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", airflow_connection(api))
        return str(dag.test(logical_date=logical_date).state)
