"""The sales plan, from a CSV file to the workbook."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crmbot_core.errors import ConfigurationError
from crmbot_core.warehouse import snapshot
from crmbot_exporter.plan import load_plan, read_plan

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Warehouse

HEAD = "month,branch,service,tariff,units,monthly_revenue\n"
LINE = "2025-03-01,Тульский филиал,Интернет,Домашний 100,120,66000.50\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "plan.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_is_loaded_unchanged(warehouse: "Warehouse", tmp_path: Path) -> None:
    lines = read_plan(_file(tmp_path, "\ufeff" + HEAD + LINE))
    with snapshot(warehouse.settings(tmp_path)) as connection:
        load_plan(connection, "mrf1", lines)
    query = "SELECT month, branch, service, tariff, units, monthly_revenue::text FROM crm_bot_plan_mrf1"
    assert warehouse.query(query) == [
        (date(2025, 3, 1), "Тульский филиал", "Интернет", "Домашний 100", 120, "66000.50")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(HEAD, "has no lines", id="empty"),
        pytest.param(HEAD + LINE + LINE.replace("120", "-1"), "line 3, units", id="negative"),
        pytest.param(HEAD + LINE.replace("-03-01", "-03-02"), "line 2, month", id="not a first day"),
        pytest.param(HEAD + LINE.replace("120", "много"), "line 2, units", id="no number"),
        pytest.param(
            HEAD.replace("tariff", "plan") + LINE,
            "line 1: tariff should",
            id="a column is missing",
        ),
        pytest.param(HEAD + LINE.strip() + ",1\n", "line 2", id="a value too many"),
    ],
)
def test_the_error_for_an_invalid_plan_names_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_plan(_file(tmp_path, text))


def test_a_missing_plan_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_plan(tmp_path / "absent.csv")
