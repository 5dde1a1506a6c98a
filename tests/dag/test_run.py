"""A run of data2excel_mrf1 whose pods run the exporter on a real warehouse.

CRMBOT_BIN is the folder with the services' programs, by default that of the root's environment.
TEST_WAREHOUSE_DSN is a warehouse to export from; by default the test starts a PostgreSQL in the services'
environment.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from openpyxl import load_workbook

from .conftest import ROOT
from .pod_api import PodApi, served
from .runs import run

# By a thread, because Airflow's task timeout uses SIGALRM.
pytestmark = pytest.mark.timeout(300, method="thread")

BIN = Path(os.environ.get("CRMBOT_BIN") or ROOT / ".venv" / "bin")
PASSWORD = "never-in-the-log"

SERVE_POSTGRES = """
import sys
from pathlib import Path
from devstack.postgres import Postgres

with Postgres(Path(sys.argv[1])) as server:
    print(server.dsn, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def warehouse_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a warehouse; the default one has no tables."""
    if dsn := os.environ.get("TEST_WAREHOUSE_DSN"):
        yield dsn
        return
    command: list[str | Path] = [BIN / "python", "-c", SERVE_POSTGRES, tmp_path_factory.mktemp("postgres")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        dsn = server.stdout.readline().strip()
        assert dsn, "PostgreSQL did not start; does the root's environment exist (uv sync)?"
        yield dsn
        server.stdin.close()


@pytest.fixture(scope="module")
def image_env() -> dict[str, str]:
    """The variables that the exporter's image sets."""
    return {"PATH": f"{BIN}:/usr/bin:/bin", "SQL_DIR": str(ROOT / "sql")}


@pytest.fixture(scope="module")
def migrated_dsn(warehouse_dsn: str, image_env: dict[str, str]) -> str:
    """The DSN of a warehouse with the tables of mrf1."""
    env = image_env | {"MRF": "mrf1", "WAREHOUSE_DSN": warehouse_dsn}
    subprocess.run([BIN / "crmbot-consumer", "migrate"], env=env, check=True, timeout=60)
    return warehouse_dsn


def test_the_dag_saves_both_workbooks_on_the_volume(
    migrated_dsn: str,
    image_env: dict[str, str],
    dag_bag: BundleDagBag,
    metadata_db: None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    volume = tmp_path / "volume"
    cluster = PodApi(
        secrets={"crmbot-warehouse": {"WAREHOUSE_DSN": migrated_dsn, "WAREHOUSE_PASSWORD": PASSWORD}},
        claims={"mrf1-workbooks": volume},
        image_env=image_env,
        scratch=tmp_path / "scratch",
    )
    with served(cluster) as api:
        assert run(dag_bag.dags["data2excel_mrf1"], api) == "success"
        assert api.pods == {}, "pods that succeeded are deleted"

    (volume / ".published-mrf1").unlink()
    files = [file for file in volume.iterdir() if file.is_file()]
    assert {file.name for file in files} == {"actions_mrf1.xlsx", "nature_mrf1.xlsx"}
    # A copy of each in the folder of its month; temporary files are removed.
    (month,) = (folder for folder in volume.iterdir() if folder.is_dir())
    assert re.fullmatch(r"20\d\d-\d\d", month.name)
    assert {file.name for file in month.iterdir()} == {file.name for file in files}
    output = "".join(capfd.readouterr())
    for file in files:
        assert f"[base] logs: {file}" in output, "the exporter's output is in the task's log"
        summary = load_workbook(file).worksheets[0]
        assert any("Центр" in str(cell.value) for row in summary.iter_rows() for cell in row)
    assert PASSWORD not in output
