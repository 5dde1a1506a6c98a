"""Data files hold all rows, unchanged."""

import csv
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import openpyxl
import pyarrow.parquet as pq
import pytest
import structlog

from crmbot_core.contracts import ACTIONS, NATURE
from crmbot_exporter.data_files import export_data

if TYPE_CHECKING:
    from services.exporter.tests.conftest import Record, Warehouse

LOG = structlog.get_logger()


def _sorted(rows: "list[Record]") -> "list[Record]":
    return sorted(rows, key=lambda row: (row["occurred_at"], row["transaction_id"]))


def test_csv_has_the_columns_of_the_contract_and_every_row(
    warehouse: "Warehouse", random_actions: "list[Record]", tmp_path: Path
) -> None:
    (path,) = export_data(warehouse.settings(tmp_path), ["actions"], "csv", LOG)
    assert path.name == "actions_mrf1_data.csv"
    with path.open(encoding="utf-8", newline="") as file:
        header, *found = csv.reader(file)
    assert header == [column.name for column in ACTIONS.row_columns]
    ids = header.index("transaction_id")
    assert [int(row[ids]) for row in found] == [row["transaction_id"] for row in _sorted(random_actions)]
    first = dict(zip(header, found[0], strict=True))
    wanted = _sorted(random_actions)[0]
    assert datetime.fromisoformat(first["occurred_at"]) == wanted["occurred_at"]
    assert (first["action"], first["potential_revenue"]) == (wanted["action"], wanted["potential_revenue"])


def test_parquet_keeps_the_types(
    warehouse: "Warehouse", random_steps: "list[Record]", tmp_path: Path
) -> None:
    (path,) = export_data(warehouse.settings(tmp_path), ["nature"], "parquet", LOG)
    table = pq.read_table(path)
    assert table.column_names == [column.name for column in NATURE.row_columns]
    wanted = _sorted(random_steps)
    for name, convert in (
        ("occurred_at", None),
        ("units", None),
        ("monthly_revenue", Decimal),
        ("status", None),
    ):
        values = [convert(row[name]) if convert else row[name] for row in wanted]
        assert table[name].to_pylist() == values


def test_xlsx_has_only_the_data_sheets(
    warehouse: "Warehouse", random_actions: "list[Record]", random_steps: "list[Record]", tmp_path: Path
) -> None:
    paths = export_data(warehouse.settings(tmp_path), ["actions", "nature"], "xlsx", LOG)
    for path, rows in zip(paths, (random_actions, random_steps), strict=True):
        workbook = openpyxl.load_workbook(path)
        assert workbook.sheetnames == ["Данные"]
        assert workbook["Данные"].max_row == len(rows) + 1


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_an_empty_stream_gives_an_empty_file(warehouse: "Warehouse", tmp_path: Path, kind: str) -> None:
    (path,) = export_data(warehouse.settings(tmp_path), ["actions"], kind, LOG)
    if kind == "parquet":
        assert pq.read_table(path).num_rows == 0
    else:
        assert path.stat().st_size > 0
