"""The whole export: data sheets, empty tables, failures."""

import itertools
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import openpyxl
import psycopg
import pytest
import structlog

from crmbot_core.contracts import ACTIONS
from crmbot_exporter.dashboards import DASHBOARDS
from crmbot_exporter.export import export
from crmbot_exporter.labels import label
from crmbot_exporter.layout import Kind
from crmbot_exporter.retry import retried

if TYPE_CHECKING:
    from crmbot_exporter.settings import ExporterSettings
    from services.exporter.tests.conftest import Record, Warehouse

pytestmark = pytest.mark.filterwarnings("ignore:.*xtension is not supported:UserWarning:openpyxl")

LOG = structlog.get_logger()
STREAMS: tuple[Literal["actions", "nature"], ...] = ("actions", "nature")


def _export(settings: "ExporterSettings", stream: Literal["actions", "nature"] = "actions") -> Path:
    (path,) = export(settings, [DASHBOARDS[stream]], LOG)
    return path


@pytest.mark.parametrize("stream", STREAMS)
def test_the_data_sheet_holds_every_row_with_labels_types_and_local_times(
    warehouse: "Warehouse",
    random_actions: "list[Record]",
    random_steps: "list[Record]",
    tmp_path: Path,
    stream: Literal["actions", "nature"],
) -> None:
    zone = ZoneInfo("Asia/Krasnoyarsk")
    path = _export(warehouse.settings(tmp_path, timezone=zone.key), stream)
    header, *found = openpyxl.load_workbook(path)["Данные"].iter_rows(values_only=True)
    columns = DASHBOARDS[stream].data
    assert header == tuple(column.title for column in columns)

    def shown(row: "Record") -> tuple[object, ...]:
        values: list[object] = []
        for column in columns:
            value = row[column.name]
            if column.kind is Kind.MOMENT:
                values.append(value.astimezone(zone).replace(tzinfo=None))
            elif column.kind is Kind.ROUBLES_KOPECKS:
                values.append(pytest.approx(float(value)))
            elif column.kind is Kind.TEXT:
                values.append(value and label(column.name, value))
            else:
                values.append(value)
        return tuple(values)

    rows = random_actions if stream == "actions" else random_steps
    ordered = sorted(rows, key=lambda row: (row["occurred_at"], row["transaction_id"]))
    assert found == [shown(row) for row in ordered]


def test_the_data_sheet_is_formatted_and_filterable(warehouse: "Warehouse", tmp_path: Path) -> None:
    warehouse.add_actions({}, {})
    sheet = openpyxl.load_workbook(_export(warehouse.settings(tmp_path)))["Данные"]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:T3"
    assert sheet["A2"].number_format == "dd.mm.yyyy hh:mm:ss"
    assert sheet["P2"].number_format == r"#,##0.00\ [$₽-419]_0"


@pytest.mark.parametrize(("rows", "sheets"), [(9, 1), (10, 2), (18, 2), (19, 3)])
def test_data_beyond_the_row_limit_continues_on_further_sheets(
    warehouse: "Warehouse", tmp_path: Path, rows: int, sheets: int
) -> None:
    start = datetime(2025, 3, 3, tzinfo=UTC)
    warehouse.add_actions(*({"occurred_at": start + timedelta(minutes=n)} for n in range(rows)))
    settings = warehouse.settings(tmp_path, timezone="UTC")
    workbook = openpyxl.load_workbook(*export(settings, [DASHBOARDS["actions"]], LOG, row_limit=10))
    names = ["Данные", "Данные 2", "Данные 3"][:sheets]
    assert [name for name in workbook.sheetnames if name.startswith("Данные")] == names
    tables = [list(workbook[name].iter_rows(values_only=True)) for name in names]
    assert all(table[0] == tables[0][0] for table in tables)
    times = [row[0] for table in tables for row in table[1:]]
    assert times == [start.replace(tzinfo=None) + timedelta(minutes=n) for n in range(rows)]


@pytest.mark.parametrize("stream", STREAMS)
def test_without_data_the_workbook_has_a_note(
    warehouse: "Warehouse", tmp_path: Path, stream: Literal["actions", "nature"]
) -> None:
    workbook = openpyxl.load_workbook(_export(warehouse.settings(tmp_path), stream))
    assert workbook.sheetnames == ["Сводка", "Данные"]
    texts = [cell.value for row in workbook["Сводка"].iter_rows() for cell in row]
    assert "Нет данных" in texts
    assert workbook["Данные"].max_row == 1


def test_an_empty_mart_has_a_note_on_its_sheet(warehouse: "Warehouse", tmp_path: Path) -> None:
    warehouse.add_actions({})
    workbook = openpyxl.load_workbook(_export(warehouse.settings(tmp_path)))
    assert workbook["Отказы"]["A4"].value == "Нет данных"


def test_a_number_too_long_for_excel_keeps_its_digits(warehouse: "Warehouse", tmp_path: Path) -> None:
    longest = 2**63 - 1
    warehouse.add_actions({"transaction_id": longest})
    sheet = openpyxl.load_workbook(_export(warehouse.settings(tmp_path)))["Данные"]
    assert str(longest) in [cell.value for cell in sheet[2]]


def test_hostile_text_is_displayed_and_never_executed(warehouse: "Warehouse", tmp_path: Path) -> None:
    texts = ["=1+1", "+cmd|' /C calc'!A0", "-1", "@SUM(A1)", "<r>&</r>", "http://example.com", "a\ufffeb\x01"]
    start = datetime(2025, 3, 3, tzinfo=UTC)
    warehouse.add_actions(
        *(
            {
                **dict.fromkeys(("client_name", "branch", "manager_name", "product"), text),
                "occurred_at": start + timedelta(minutes=number),
                "manager_id": text,
                "lead_id": text,
            }
            for number, text in enumerate(texts)
        )
    )
    path = _export(warehouse.settings(tmp_path))
    workbook = openpyxl.load_workbook(path)
    found = [cell.value for cell in workbook["Данные"]["I"][1:]]
    assert found[:6] == texts[:6]
    assert {row[0].value for row in workbook["Филиалы"].iter_rows()} >= set(texts[:6])
    with zipfile.ZipFile(path) as parts:
        sheets = {name: parts.read(name) for name in parts.namelist() if "/worksheets/sheet" in name}
    data = sheets[f"xl/worksheets/sheet{len(workbook.sheetnames)}.xml"]
    assert b"<f>" not in data
    assert b"<hyperlink" not in data
    # All other formulas are our own sums and quotients.
    formulas = itertools.chain(*(text.split(b"<f>")[1:] for text in sheets.values()))
    assert {formula.split(b"(")[0] for formula in formulas} == {b"SUM", b"IFERROR"}


def test_a_workbook_has_properties_and_offsets(warehouse: "Warehouse", tmp_path: Path) -> None:
    loaded_at = datetime(2025, 3, 4, 7, 30, tzinfo=UTC)
    warehouse.add_actions({"occurred_at": datetime(2025, 3, 3, tzinfo=UTC), "loaded_at": loaded_at})
    warehouse.add_ledger(ACTIONS, 0, 7, loaded_at)
    workbook = openpyxl.load_workbook(_export(warehouse.settings(tmp_path)))
    assert workbook.properties.title == "Активность менеджеров"
    assert workbook.properties.subject == "МРФ «Центр», 1–3\xa0марта\xa02025"
    texts = [cell.value for row in workbook["Сводка"].iter_rows() for cell in row]
    assert "Топик crm_bot_actions_mrf1, загруженные смещения: раздел 0 – до 7" in texts
    assert "данные на 04.03.2025 10:30 (Europe/Moscow)" in workbook["Сводка"]["A2"].value
    for sheet in workbook.worksheets:
        assert int(sheet.page_setup.paperSize) == 9  # A4
        assert sheet.sheet_properties.pageSetUpPr.fitToPage


def test_charts_reference_the_ranges_of_their_tables(
    warehouse: "Warehouse", random_actions: "list[Record]", tmp_path: Path
) -> None:
    workbook = openpyxl.load_workbook(_export(warehouse.settings(tmp_path)))
    assert sum(bool(sheet._charts) for sheet in workbook.worksheets) >= 4
    (chart, _) = workbook["Филиалы"]._charts
    assert chart.series[0].val.numRef.f.replace("'", "") == "Филиалы!$D$21:$D$23"
    values = [point.v for point in chart.series[0].val.numRef.numCache.pt]
    assert values == [row[0].value for row in workbook["Филиалы"]["D21:D23"]]
    assert len({row["branch"] for row in random_actions}) == 3


@pytest.mark.usefixtures("random_actions")
def test_a_lost_connection_is_retried(warehouse: "Warehouse", tmp_path: Path) -> None:
    settings = warehouse.settings(tmp_path)
    _export(settings)
    attempts = []

    def cut() -> None:
        warehouse.wait_for_lock()
        warehouse.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        reader.rollback()

    def export() -> None:
        attempts.append(_export(settings))

    with psycopg.connect(warehouse.dsn) as reader:
        reader.execute("SELECT * FROM crm_bot_mart_actions_daily_mrf1")
        cutting = threading.Thread(target=cut)
        cutting.start()
        retried(export, LOG)
        cutting.join()
    assert len(attempts) == 1
    assert openpyxl.load_workbook(attempts[0])["Данные"].max_row == 601
    assert list(tmp_path.iterdir()) == attempts
