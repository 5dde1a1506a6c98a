"""A run of the DAG saves workbooks on the MRF's volume."""

import subprocess
from io import BytesIO

import openpyxl
import pytest

from tests.cluster.kube import NAMESPACE, execute, pods
from tests.cluster.release import Release


@pytest.mark.parametrize("stream", ["actions", "nature"])
def test_the_workbook_is_on_the_volume_and_opens(stream: str, exported_after: float, mrf2: Release) -> None:
    path = f"/workbooks/{stream}_{mrf2.mrf}.xlsx"
    saved = float(execute(f"deploy/{mrf2.mrf}-exporter", "stat", "--format=%Y", path))
    assert saved >= int(exported_after)
    content = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, "exec", f"deploy/{mrf2.mrf}-exporter", "--", "cat", path],
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    ).stdout
    summary = openpyxl.load_workbook(BytesIO(content), read_only=True).worksheets[0]
    assert any("Северо-Запад" in str(cell.value) for row in summary.iter_rows() for cell in row)


@pytest.mark.usefixtures("exported_after")
def test_only_pods_of_failed_attempts_are_kept(mrf2: Release) -> None:
    selector = f"app.kubernetes.io/name=crmbot-exporter,app.kubernetes.io/instance={mrf2.mrf}"
    assert [pod for pod in pods(selector) if pod["status"]["phase"] != "Failed"] == []
