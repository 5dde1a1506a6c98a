"""The DAGs that Airflow finds in dags/: their schedules and the order of their tasks."""

import shutil
import zipfile
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.dag_processing.importers import get_importer_registry
from airflow.serialization.serialized_objects import DagSerialization

from .conftest import DAGS

# 06:00 in each MRF's time zone; none of them has daylight saving time.
RUN_TIMES_UTC = {
    "mrf1": ("Europe/Moscow", time(3)),
    "mrf2": ("Europe/Moscow", time(3)),
    "mrf3": ("Europe/Samara", time(2)),
    "mrf4": ("Europe/Moscow", time(3)),
    "mrf5": ("Asia/Yekaterinburg", time(1)),
    "mrf6": ("Asia/Novosibirsk", time(23)),
    "mrf7": ("Asia/Vladivostok", time(20)),
}


def test_airflow_imports_a_dag_for_each_mrf_and_one_for_all_without_warnings(dag_bag: BundleDagBag) -> None:
    assert dag_bag.import_errors == {}
    assert dag_bag.captured_warnings == {}
    assert set(dag_bag.dags) == {f"data2excel_{mrf}" for mrf in [*RUN_TIMES_UTC, "russia"]}


@pytest.mark.parametrize("mrf", RUN_TIMES_UTC)
def test_the_scheduler_runs_each_dag_daily_at_six_in_its_time_zone(dag_bag: BundleDagBag, mrf: str) -> None:
    timezone, run_time = RUN_TIMES_UTC[mrf]
    # The scheduler uses the DAG as deserialized from the metadata database.
    dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag_bag.dags[f"data2excel_{mrf}"]))
    assert dag.timezone.name == timezone

    first = dag.next_dagrun_info(last_automated_run_info=None)
    assert first is not None
    assert first.run_after.astimezone(UTC).time() == run_time
    assert first.run_after.astimezone(ZoneInfo(timezone)).time() == time(6)
    # Without catchup, the first run is that of the latest interval.
    assert timedelta(0) <= datetime.now(UTC) - first.run_after <= timedelta(days=1, minutes=1)

    following = dag.next_dagrun_info(last_automated_run_info=first)
    assert following is not None
    assert following.run_after - first.run_after == timedelta(days=1)


def test_each_dag_builds_the_marts_then_both_workbooks_at_once_then_publishes(dag_bag: BundleDagBag) -> None:
    for mrf in RUN_TIMES_UTC:
        dag = dag_bag.dags[f"data2excel_{mrf}"]
        following = {task.task_id: task.downstream_task_ids for task in dag.tasks}
        assert following == {
            "marts": {"export_actions", "export_nature"},
            "export_actions": {"publish"},
            "export_nature": {"publish"},
            "publish": set(),
        }
        assert dag.max_active_runs == 1
        assert dag.catchup is False
        assert dag.dagrun_timeout == timedelta(hours=3)


def test_all_russia_follows_the_publication_of_every_mrf(dag_bag: BundleDagBag) -> None:
    published = {
        asset.name
        for mrf in RUN_TIMES_UTC
        for asset in dag_bag.dags[f"data2excel_{mrf}"].get_task("publish").outlets
    }
    # In the serialized DAG, which the scheduler uses, the run waits for the update of all assets.
    serialized = DagSerialization.serialize_dag(dag_bag.dags["data2excel_russia"])
    condition = serialized["timetable"]["__var"]["asset_condition"]
    assert condition["__type"] == "asset_all"
    assert {asset["name"] for asset in condition["objects"]} == published
    assert published == {f"crmbot_workbooks_{mrf}" for mrf in RUN_TIMES_UTC}


def test_catchup_starts_with_the_first_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DAGS / "data2excel.yaml").read_text(encoding="utf-8").replace("catchup: false", "catchup: true")
    path = tmp_path / "data2excel.yaml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("DATA2EXCEL_CONFIG", str(path))
    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags["data2excel_mrf1"]))
    first = dag.next_dagrun_info(last_automated_run_info=None)
    assert first is not None
    assert first.data_interval is not None
    assert first.data_interval.start == datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert first.run_after == datetime(2026, 1, 2, 3, tzinfo=UTC)


def test_the_web_interface_shows_owner_and_documentation(dag_bag: BundleDagBag) -> None:
    dag = dag_bag.dags["data2excel_mrf3"]
    assert dag.tags == {"crm-bot", "data2excel", "mrf3"}
    assert "Волга" in dag.dag_display_name
    assert dag.doc_md is not None
    for text in ("`actions_mrf3.xlsx`", "`nature_mrf3.xlsx`", "`/opt/airflow/dags`", "Europe/Samara"):
        assert text in dag.doc_md
    task = dag.get_task("export_nature")
    assert (task.owner, task.retries, task.retry_delay) == ("sales-analytics", 2, timedelta(minutes=5))
    assert task.execution_timeout == timedelta(hours=1)


def test_workbooks_saved_beside_the_dags_are_not_searched_for_dags(
    dag_bag: BundleDagBag, tmp_path: Path
) -> None:
    for name in (".airflowignore", "dag_data2excel.py", "data2excel_config.py"):
        shutil.copy(DAGS / name, tmp_path)
    for name in ("actions_mrf1.xlsx", ".nature_mrf1.xlsx.01234567.tmp"):
        with zipfile.ZipFile(tmp_path / name, "w") as workbook:
            workbook.writestr("xl/workbook.xml", "<workbook/>")
    files = get_importer_registry().list_dag_files(tmp_path)
    assert [Path(file).name for file in files] == ["dag_data2excel.py"]
