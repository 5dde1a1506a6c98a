"""Runs a DAG with Airflow's `dag.test()` on the stub cluster."""

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from .pod_api import PodApi, airflow_connection

if TYPE_CHECKING:
    from airflow.sdk import DAG


def run(dag: "DAG", api: PodApi, logical_date: datetime | None = None) -> str:
    """Run all tasks of the DAG without retries, and return the run's state: success or failed.

    The data interval is the last one that ended before `logical_date`, by default now.
    """
    with pytest.MonkeyPatch.context() as patch:
        for task in dag.tasks:
            patch.setattr(task, "retries", 0)
        patch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", airflow_connection(api))
        return str(dag.test(logical_date=logical_date).state)
