"""All SQL of the project passes the guard."""

import re

import pytest

from . import owner
from .guard import COLUMN_VARIABLES, problems, storage
from .statements import ROOT, Statement, python_files, python_statements, sql_files, storage_clauses

FILES = sql_files()
LITERALS = python_statements()
STORAGES = {
    name: storage(clause)
    for name, clause in storage_clauses("greenplum").items()
    if name not in COLUMN_VARIABLES
}

_RUNS = re.compile(r"\.(execute|executemany|copy)\(")


@pytest.mark.parametrize("statement", [*FILES, *LITERALS], ids=lambda statement: statement.place)
def test_statement(statement: Statement) -> None:
    is_owners = statement.place.rpartition(":")[0] in owner.MODULES
    assert problems(statement.text, STORAGES, is_owners=is_owners) == []


def test_no_file_of_sql_is_overlooked() -> None:
    found = {statement.place for statement in FILES}
    assert {"sql/common/001_ledger.sql", "sql/mrf/001_actions.sql", "sql/marts/actions_daily.sql"} <= found
    assert len(found) == len(list((ROOT / "sql").rglob("*.sql"))) - 2  # sql/storage


def test_no_module_that_runs_sql_is_overlooked() -> None:
    modules = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in python_files()}
    runs = {name for name, source in modules.items() if _RUNS.search(source)}
    assert runs <= {place.rpartition(":")[0] for place, _ in LITERALS}


@pytest.mark.parametrize(
    ("module", "beginning"),
    [
        ("libs/crmbot-core/src/crmbot_core/ledger.py", "INSERT INTO crm_bot_ledger"),
        ("services/consumer/src/crmbot_consumer/warehouse.py", "INSERT INTO crm_bot_rejects"),
        ("services/consumer/src/crmbot_consumer/warehouse.py", "COPY"),
        ("services/consumer/src/crmbot_consumer/migrate.py", "LOCK TABLE"),
        ("services/consumer/src/crmbot_consumer/fold.py", "BEGIN ISOLATION LEVEL"),
        ("services/consumer/src/crmbot_consumer/maintain.py", "ANALYZE"),
        ("services/consumer/src/crmbot_consumer/reorganize.py", "ALTER TABLE"),
        ("services/consumer/src/crmbot_consumer/rejects.py", "INSERT INTO crm_bot_replays"),
        ("libs/crmbot-core/src/crmbot_core/contracts/digest.py", "SELECT md5("),
        ("services/exporter/src/crmbot_exporter/marts.py", "DROP TABLE IF EXISTS"),
        ("services/exporter/src/crmbot_exporter/rows.py", "SELECT (extract("),
    ],
)
def test_known_statements_are_found(module: str, beginning: str) -> None:
    texts = [text.strip() for place, text in LITERALS if place.startswith(f"{module}:")]
    assert any(text.startswith(beginning) for text in texts)
