"""russia.xlsx is the sum of the MRFs' published marts."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import openpyxl
import psycopg
import pytest
import structlog

from crmbot_core import psql
from crmbot_core.errors import ConfigurationError
from crmbot_exporter.export import rebuild_marts
from crmbot_exporter.russia import export_russia
from crmbot_exporter.settings import RussiaSettings
from services.exporter.tests import expected
from services.exporter.tests.conftest import SQL_DIR

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Record, Warehouse

pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning:openpyxl")

LOG = structlog.get_logger()
DAY = date(2025, 3, 11)


def _settings(warehouse: "Warehouse", folder: Path) -> RussiaSettings:
    return RussiaSettings(warehouse_dsn=warehouse.dsn, sql_dir=SQL_DIR, output_dir=folder)


@pytest.fixture
def marts(
    warehouse: "Warehouse", random_actions: "list[Record]", random_steps: "list[Record]", tmp_path: Path
) -> expected.Marts:
    """Publish mrf1, and as mrf2 the same rows without the branch Филиал 0; return mrf1's expected marts."""
    with psycopg.connect(warehouse.dsn) as connection:
        variables = psql.variables(SQL_DIR / "storage" / "postgresql.sql") | {"mrf": "mrf2"}
        for path in sorted((SQL_DIR / "mrf").glob("*.sql")):
            connection.execute(psql.script(path, variables))
        for table in ("actions", "nature"):
            connection.execute(
                f"INSERT INTO crm_bot_{table}_mrf2 SELECT * FROM crm_bot_{table}_mrf1 "
                "WHERE branch <> 'Филиал 0'"
            )
    for mrf in ("mrf1", "mrf2"):
        settings = warehouse.settings(tmp_path, timezone="Europe/Moscow", report_day=DAY)
        rebuild_marts(settings.model_copy(update={"mrf": mrf}), LOG)
    return expected.marts(random_actions, random_steps, ZoneInfo("Europe/Moscow"), DAY)


def _tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return each sheet's table, rows by title."""
    tables = {}
    for sheet in openpyxl.load_workbook(path, data_only=True).worksheets[1:]:
        rows = list(sheet.iter_rows(values_only=True))
        start = next(at for at, row in enumerate(rows) if at > 2 and row[1] is not None)
        tables[sheet.title] = [
            dict(zip(rows[start], row, strict=True))
            for row in rows[start + 1 :]
            if row[1] is not None and row[0] != "Итого"
        ]
    return tables


def test_mrfs_are_compared(warehouse: "Warehouse", marts: expected.Marts, tmp_path: Path) -> None:
    tables = _tables(export_russia(_settings(warehouse, tmp_path), ["mrf1", "mrf2"], LOG))
    branches = marts["nature_branches"]
    revenue = {row["branch"]: row["monthly_revenue"] for row in branches}
    plan = {row["branch"]: row["monthly_revenue_plan"] for row in branches}
    of = {row["МРФ"]: row for row in tables["МРФ"]}
    assert list(of) == ["Центр", "Северо-Запад"]  # by revenue
    assert of["Центр"]["Выручка в месяц"] == pytest.approx(sum(revenue.values()))
    rest = [branch for branch in revenue if branch != "Филиал 0"]
    assert of["Северо-Запад"]["Выручка в месяц"] == pytest.approx(sum(revenue[branch] for branch in rest))
    done = sum(revenue[branch] for branch in rest) / sum(plan[branch] for branch in rest)
    assert of["Северо-Запад"]["План выполнен"] == pytest.approx(done)
    assert of["Центр"]["Новые лиды"] == marts["actions_summary"][0]["leads"]
    assert of["Центр"]["Зависшие заказы"] == len(marts["nature_stuck"])
    assert [(row["Филиал"], row["МРФ"]) for row in tables["Филиалы"]].count(("Филиал 0", "Северо-Запад")) == 0
    assert len(tables["Филиалы"]) == 5
    assert sum(row["Выручка в месяц"] for row in tables["Услуги"]) == pytest.approx(
        sum(revenue.values()) + sum(revenue[branch] for branch in rest)
    )
    places = [row["Место"] for row in tables["Менеджеры"]]
    assert places == sorted(places)
    scores = [(row["Выручка в месяц"], row["Единицы"]) for row in tables["Менеджеры"]]
    assert places == [1 + sum(other > own for other in scores) for own in scores]


def test_the_summary_adds_up(warehouse: "Warehouse", marts: expected.Marts, tmp_path: Path) -> None:
    path = export_russia(_settings(warehouse, tmp_path), ["mrf1"], LOG)
    rows = list(
        openpyxl.load_workbook(path, data_only=True)["Сводка"].iter_rows(values_only=True, max_row=12)
    )
    cards = {title: (rows[3][at], rows[4][at], rows[5][at]) for at, title in enumerate(rows[3]) if title}
    now, before = marts["nature_summary"]
    assert cards["Выручка в месяц"][1:] == (
        pytest.approx(now["monthly_revenue"]),
        pytest.approx(now["monthly_revenue"] / before["monthly_revenue"] - 1),
    )
    assert cards["Доля подключённых среди завершённых"][1] == pytest.approx(now["success"])


def test_an_mrf_without_marts_is_an_error(warehouse: "Warehouse", tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="crmbot-exporter export --mrf mrf1"):
        export_russia(_settings(warehouse, tmp_path), ["mrf1"], LOG)


def test_without_any_rows_the_workbook_has_a_note(warehouse: "Warehouse", tmp_path: Path) -> None:
    rebuild_marts(warehouse.settings(tmp_path), LOG)
    path = export_russia(_settings(warehouse, tmp_path), ["mrf1"], LOG)
    texts = [cell.value for row in openpyxl.load_workbook(path)["Сводка"].iter_rows() for cell in row]
    assert "Нет данных" in texts
