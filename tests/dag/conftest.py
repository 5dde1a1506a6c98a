"""Tests that run in the DAGs' own environment: `uv run --project dags pytest tests/dag`."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import BundleDagBag

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"

# The services' environment has no Airflow: there, these tests are not collected.
if importlib.util.find_spec("airflow") is None:
    collect_ignore_glob = ["test_*.py"]

# As Airflow does with its DAGs folder.
sys.path.append(str(DAGS))

# Airflow reads its settings at its first import, so they are set before any test module is imported.
_home = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ.update(
    {
        "AIRFLOW_HOME": _home.name,
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_home.name}/airflow.db",
    }
)
for _name in ("AIRFLOW_CONFIG", "DATA2EXCEL_CONFIG", "KUBECONFIG"):
    os.environ.pop(_name, None)


def pytest_configure(config: pytest.Config) -> None:
    # Deprecation warnings from within Airflow.
    for message in ("GitWildMatchPattern", "Using `httpx` with `starlette.testclient`"):
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


@pytest.fixture(scope="session", autouse=True)
def airflow_home() -> Iterator[Path]:
    yield Path(_home.name)
    _home.cleanup()


@pytest.fixture(scope="session")
def metadata_db() -> None:
    """Create Airflow's metadata database, in SQLite."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def dag_bag() -> "BundleDagBag":
    """The project's DAGs, parsed by Airflow with the shipped configuration."""
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
