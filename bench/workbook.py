"""`python -m bench.workbook`: the time of marts and a workbook, compared with a bare XlsxWriter loop.

PostgreSQL generates the rows: leads with five actions each over a hundred days, every third with an order of
three steps. The loop writes the same cells of the data sheets, read by the same cursor, with XlsxWriter's
`write_row` in constant_memory. Each side runs in its own process, so that its peak memory can be measured.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import click
import psycopg
from xlsxwriter import Workbook

from bench.measure import BenchError
from crmbot_core import psql
from crmbot_core.contracts import ACTIONS
from crmbot_core.warehouse import snapshot
from crmbot_exporter.dashboards import DASHBOARDS
from crmbot_exporter.files import scratch_folder
from crmbot_exporter.marts import Wanted, build
from crmbot_exporter.report import Report
from crmbot_exporter.rows import read_rows, rows_of, write_rows
from crmbot_exporter.settings import ExporterSettings
from crmbot_exporter.theme import Theme
from crmbot_exporter.workbook import new_workbook
from devstack import Postgres

_SQL = Path(__file__).parents[1] / "sql"
_TARGET = 1.3  # at most, relative to the loop's time
_MEMORY_MB = 300
_COLUMNS = DASHBOARDS["actions"].data
_LEADS = """
    SELECT n, n %% 60 AS manager, timestamptz '2026-06-01' + n * interval '100 days' / %(leads)s AS created_at
    FROM generate_series(1, %(leads)s) AS l (n)
"""
_ACTIONS = f"""
    INSERT INTO crm_bot_actions_mrf1
    SELECT 1, n * 5 + k, md5((n * 5 + k)::text)::uuid, md5('file')::uuid, 'mrf1',
        created_at + k * interval '30 hours', created_at + k * interval '30 hours',
        'mrf1-L' || n, 'mrf1-C' || n, 'individual', 'mrf1-M' || manager, 'Менеджер ' || manager,
        'Филиал ' || manager %% 5, 'Город', 'Клиент ' || n,
        (ARRAY['lead_created', 'call', 'message', 'meeting', 'offer'])[k + 1], 'phone', 'Интернет',
        CASE WHEN k = 0 THEN 'new' WHEN k < 4 THEN 'callback'
            WHEN n %% 3 = 0 THEN 'order_placed' ELSE 'refused' END,
        CASE WHEN k = 4 AND n %% 3 > 0 THEN 'Дорого' END, n %% 900 + 0.5, n %% 3, n * 5 + k, now()
    FROM ({_LEADS}) AS leads CROSS JOIN generate_series(0, 4) AS k
"""
_NATURE = f"""
    INSERT INTO crm_bot_nature_mrf1
    SELECT 1, n * 3 + k, md5('o' || n * 3 + k)::uuid, md5('orders')::uuid, 'mrf1',
        created_at + (k + 5) * interval '40 hours', created_at + (k + 5) * interval '40 hours',
        'mrf1-L' || n, 'mrf1-C' || n, 'individual', 'mrf1-M' || manager, 'Менеджер ' || manager,
        'Филиал ' || manager %% 5, 'Город', 'mrf1-O' || n, 'Интернет', 'Тариф ' || n %% 7, n %% 4 + 1,
        (ARRAY['application', 'contract', 'connected'])[k + 1], NULL,
        0, n %% 900 + 0.5, n %% 3, n * 3 + k, now()
    FROM ({_LEADS}) AS leads CROSS JOIN generate_series(0, 2) AS k
    WHERE n %% 3 = 0
"""


def ours(settings: ExporterSettings, path: Path) -> None:
    """Write the data sheets as the exporter does."""
    with snapshot(settings) as connection, path.open("wb") as file, scratch_folder() as scratch:
        workbook = new_workbook(file, scratch)
        rows = read_rows(connection, rows_of(ACTIONS, _report(settings)), _COLUMNS, settings.timezone)
        write_rows(workbook, Theme(workbook), _COLUMNS, rows)
        workbook.close()


def bare(settings: ExporterSettings, path: Path) -> None:
    """Write the same cells with a loop of `write_row`."""
    with snapshot(settings) as connection:
        workbook = Workbook(path, {"constant_memory": True})
        worksheet = workbook.add_worksheet()
        rows = read_rows(connection, rows_of(ACTIONS, _report(settings)), _COLUMNS, settings.timezone)
        for number, row in enumerate(rows):
            worksheet.write_row(number, 0, row)
        workbook.close()


def _report(settings: ExporterSettings) -> Report:
    return Report(settings.mrf, settings.zone, None)


def _measured(action: Callable[[ExporterSettings, Path], None], *arguments: object) -> tuple[float, float]:
    """Run an action in a separate process; return its seconds and its peak memory in MiB."""
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sending, action, arguments))
    process.start()
    sending.close()
    try:
        seconds, peak = receiving.recv()
    except EOFError:
        raise BenchError(f"{action.__name__} failed") from None
    process.join()
    return float(seconds), float(peak)


def _child(sending: Connection, action: Callable[..., None], arguments: Sequence[object]) -> None:
    began = time.monotonic()
    action(*arguments)
    seconds = time.monotonic() - began
    sending.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


@click.command()
@click.option("--rows", type=click.IntRange(min=1_000, max=1_048_575), default=1_000_000, show_default=True)
@click.option("--mart-rows", type=click.IntRange(min=1_000), default=5_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Rounds to measure.")
def main(rows: int, mart_rows: int, rounds: int) -> None:
    """Compare the data sheets with a bare loop, then measure all marts of one MRF."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Postgres(Path(name) / "postgres") as postgres:
        settings = ExporterSettings(warehouse_dsn=postgres.dsn, sql_dir=_SQL, mrf="mrf1")
        _fill(postgres.dsn, rows // 5)
        pairs = []
        for number in range(1, rounds + 1):
            (our_seconds, our_peak), (bare_seconds, bare_peak) = (
                _measured(action, settings, Path(name) / "data.xlsx") for action in (ours, bare)
            )
            pairs.append((our_seconds / bare_seconds, our_peak))
            click.echo(
                f"data sheets {number}/{rounds}: {our_seconds:.1f} s, {our_peak:.0f} MiB; "
                f"bare loop {bare_seconds:.1f} s, {bare_peak:.0f} MiB"
            )
        ratio, peak = median(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
        _fill(postgres.dsn, mart_rows // 6)
        began = time.monotonic()
        with snapshot(settings) as connection:
            names = build(connection, _SQL, Wanted("mrf1", settings.timezone)).names
        seconds = time.monotonic() - began
    click.echo(f"{rows:,} rows: {ratio:.2f} times the loop; target: at most {_TARGET}")
    click.echo(f"peak memory: {peak:.0f} MiB; target: below {_MEMORY_MB}")
    click.echo(
        f"{len(names)} marts over {mart_rows:,} rows: {seconds:.1f} s; load before {os.getloadavg()[0]:.1f}"
    )
    sys.exit(0 if ratio <= _TARGET and peak < _MEMORY_MB else 1)


def _fill(dsn: str, leads: int) -> None:
    """Recreate the tables of mrf1 with this many leads."""
    variables = psql.variables(_SQL / "storage" / "postgresql.sql") | {"mrf": "mrf1"}
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        for folder in ("common", "mrf"):
            for path in sorted((_SQL / folder).glob("*.sql")):
                connection.execute(psql.script(path, variables))
        for insert in (_ACTIONS, _NATURE):
            connection.execute(insert, {"leads": leads})
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    main()
