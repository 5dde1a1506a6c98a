"""Runs of the DAG: all tasks use the same marts, and backfills replace nothing newer."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
import structlog

from crmbot_core.contracts import ACTIONS
from crmbot_core.errors import ConfigurationError
from crmbot_exporter.dashboards import DASHBOARDS
from crmbot_exporter.export import export, rebuild_marts
from crmbot_exporter.publish import publish_run, report_day

if TYPE_CHECKING:
    from crmbot_exporter.settings import ExporterSettings
    from services.exporter.tests.conftest import Warehouse

pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning:openpyxl")

LOG = structlog.get_logger()
RUN = "scheduled__2025-03-12T03:00:00+00:00"
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)


def _settings(
    warehouse: "Warehouse",
    folder: Path,
    run_id: str,
    day: date,
    **others: Any,  # noqa: ANN401
) -> "ExporterSettings":
    return warehouse.settings(folder, run_id=run_id, report_day=day, timezone="UTC", **others)


def _run(settings: "ExporterSettings") -> list[Path]:
    rebuild_marts(settings, LOG)
    for dashboard in DASHBOARDS.values():
        export(settings, [dashboard], LOG)
    return publish_run(settings, LOG)


def _key_figure(path: Path, title: str) -> object:
    rows = list(openpyxl.load_workbook(path)["Сводка"].iter_rows(values_only=True, max_row=12))
    ((at, place),) = ((at, row.index(title)) for at, row in enumerate(rows) if title in row)
    return rows[at + 1][place]


@pytest.mark.usefixtures("random_actions", "random_steps")
def test_a_run_publishes_both_workbooks_and_copies_for_the_month(
    warehouse: "Warehouse", tmp_path: Path
) -> None:
    published = _run(_settings(warehouse, tmp_path, RUN, date(2025, 3, 11)))
    names = ["actions_mrf1.xlsx", "nature_mrf1.xlsx"]
    assert sorted(published) == sorted(
        tmp_path / folder / name for folder in (".", "2025-03") for name in names
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [".published-mrf1", "2025-03", *names]
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / "2025-03" / name).read_bytes()
        assert report_day(tmp_path / name) == date(2025, 3, 11)


@pytest.mark.usefixtures("random_actions", "random_steps")
def test_a_run_of_a_past_month_publishes_that_months_workbooks_and_replaces_nothing_newer(
    warehouse: "Warehouse", tmp_path: Path
) -> None:
    _run(_settings(warehouse, tmp_path, RUN, date(2025, 3, 11)))
    before = {name: (tmp_path / name).read_bytes() for name in ("actions_mrf1.xlsx", "nature_mrf1.xlsx")}
    published = _run(_settings(warehouse, tmp_path, "backfill__1", date(2025, 2, 28), data_rows="month"))
    assert {path.parent.name for path in published} == {"2025-02"}
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert warehouse.query("SELECT day, run FROM crm_bot_mart_report_mrf1") == [(date(2025, 3, 11), RUN)]
    february = openpyxl.load_workbook(tmp_path / "2025-02" / "actions_mrf1.xlsx", data_only=True)
    assert "1–28\xa0февраля\xa02025" in february["Сводка"]["A2"].value
    days = {row[0].value.date() for row in february["Данные"].iter_rows(min_row=2, max_col=1)}
    assert (min(days).month, max(days).month) == (2, 2)
    assert len(days) > 20


def test_the_tasks_of_a_run_show_the_marts_that_it_has_published(
    warehouse: "Warehouse", tmp_path: Path
) -> None:
    settings = _settings(warehouse, tmp_path, RUN, date(2025, 3, 3))
    loaded = datetime(2025, 3, 3, 13, tzinfo=UTC)
    warehouse.add_actions({"occurred_at": NOON, "loaded_at": loaded})
    warehouse.add_ledger(ACTIONS, 0, 1, loaded)
    rebuild_marts(settings, LOG)
    # Rows loaded between two tasks are in neither figures nor data.
    warehouse.add_actions({"occurred_at": NOON, "loaded_at": datetime(2025, 3, 4, tzinfo=UTC)})
    (path,) = export(settings, [DASHBOARDS["actions"]], LOG)
    assert path.parent == tmp_path / ".mrf1-scheduled-2025-03-12T03-00-00-00-00"
    assert _key_figure(path, "Действия") == 1
    assert openpyxl.load_workbook(path)["Данные"].max_row == 2


def test_marts_of_another_run_are_not_used(warehouse: "Warehouse", tmp_path: Path) -> None:
    warehouse.add_actions({"occurred_at": NOON})
    rebuild_marts(_settings(warehouse, tmp_path, "other", date(2025, 3, 4)), LOG)
    warehouse.add_actions({"occurred_at": NOON})
    (path,) = export(_settings(warehouse, tmp_path, RUN, date(2025, 3, 3)), [DASHBOARDS["actions"]], LOG)
    assert _key_figure(path, "Действия") == 2
    assert warehouse.query("SELECT run FROM crm_bot_mart_report_mrf1") == [("other",)]


def test_publishing_resumes_after_a_failure(warehouse: "Warehouse", tmp_path: Path) -> None:
    warehouse.add_actions({"occurred_at": NOON})
    settings = _settings(warehouse, tmp_path, RUN, date(2025, 3, 3))
    export(settings, [DASHBOARDS["actions"]], LOG)
    (tmp_path / "2025-03").write_text("a file in the folder's place", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="2025-03 cannot be made"):
        publish_run(settings, LOG)
    (tmp_path / "2025-03").unlink()
    assert len(publish_run(settings, LOG)) == 2
    assert not settings.run_folder.exists()


def test_a_try_after_the_run_has_published_has_nothing_to_do(warehouse: "Warehouse", tmp_path: Path) -> None:
    warehouse.add_actions({"occurred_at": NOON})
    first = _settings(warehouse, tmp_path, RUN, date(2025, 3, 3))
    second = _settings(warehouse, tmp_path, "backfill__1", date(2025, 2, 28))
    for settings in (first, second):
        export(settings, [DASHBOARDS["actions"]], LOG)
        assert publish_run(settings, LOG)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.xlsx")}
    assert publish_run(first, LOG) == []
    assert publish_run(second, LOG) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.xlsx")} == before


def test_publishing_without_workbooks_is_an_error(warehouse: "Warehouse", tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="crmbot-exporter export"):
        publish_run(_settings(warehouse, tmp_path, RUN, date(2025, 3, 3)), LOG)
    with pytest.raises(ConfigurationError, match="RUN_ID"):
        publish_run(_settings(warehouse, tmp_path, "", date(2025, 3, 3)), LOG)
