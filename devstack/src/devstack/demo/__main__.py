"""`python -m devstack.demo`: runs the pipeline on real Kafka and PostgreSQL, and audits the result."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from devstack.demo.progress import STREAMS, Progress
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from devstack.server import DevstackError, end_leftovers
from devstack.services import Service, Services

PARTITIONS = 3
DRAIN_SECONDS = 600
_REFRESH_SECONDS = 0.5
_DAY_SECONDS = 86_400


def main() -> int:
    """Return 0, 1 if something failed, or 4 if the audit found differences."""
    arguments = _arguments()
    console = Console()
    started = time.monotonic()
    try:
        is_clean = _demo(arguments, console)
    except DevstackError as error:
        console.print(f"[red]demo:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; no process is left running")
        return 130
    console.print(f"done in {time.monotonic() - started:.0f} s")
    return 0 if is_clean else 4


def _demo(arguments: argparse.Namespace, console: Console) -> bool:
    mrfs, folder = arguments.mrfs, arguments.directory.absolute()
    for program in ("java", "postgres"):
        end_leftovers(program, folder)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    with Kafka(folder / "kafka") as kafka, Postgres(folder / "postgres") as postgres:
        console.print(f"Kafka and PostgreSQL are running in {folder}")
        services = Services(
            folder / "logs",
            {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "WAREHOUSE_DSN": postgres.dsn,
                "PARTITIONS": str(PARTITIONS),
                "REPLICATION_FACTOR": "1",
                "HTTP_PORT": "0",
            },
        )
        try:
            with psycopg.connect(postgres.dsn, autocommit=True) as connection:
                progress = Progress(mrfs, folder / "data", connection)
                _fill(services, mrfs, arguments.rows, folder, console)
                _load(services, progress, arguments, console)
            reports = [_audit(services, mrf, folder) for mrf in mrfs]
            workbooks = _export(services, mrfs, folder / "workbooks")
        finally:
            services.stop()
    console.print(progress.table("Rows, and the rate at which the backlog was loaded", is_final=True))
    _print_verdict(reports, console)
    for workbook in workbooks:
        console.print(str(workbook), soft_wrap=True)
    return all(report["clean"] for report in reports)


def _fill(services: Services, mrfs: list[str], rows: int, folder: Path, console: Console) -> None:
    """Create topics, tables, and the bots' backlog."""

    def fill(mrf: str) -> None:
        environment = {"MRF": mrf, "DATA_DIR": str(folder / "data" / mrf)}
        services.run(environment, "crmbot-producer", "topics")
        services.run(environment, "crmbot-consumer", "migrate")
        end = ("--until", f"{_last_weekday(datetime.now(UTC).date())}")
        services.run(environment, "crmbot-generator", "backfill", "--rows", str(rows // len(mrfs)), *end)

    started = time.monotonic()
    with console.status(f"topics, tables and a backlog of {rows:,} rows"), ThreadPoolExecutor() as pool:
        list(pool.map(fill, mrfs))
    console.print(f"topics, tables and a backlog of {rows:,} rows: {time.monotonic() - started:.0f} s")


def _last_weekday(today: date) -> date:
    """Return the last day from Monday to Friday that has ended: the bots work it while the demo runs."""
    return today - timedelta(days={0: 3, 6: 2}.get(today.weekday(), 1))


def _load(services: Services, progress: Progress, arguments: argparse.Namespace, console: Console) -> None:
    """Load the backlog, then run the bots for a while, and wait until every row is processed."""
    producers: dict[str, Service] = {}
    for stream in progress.streams:
        environment = {
            "MRF": stream.mrf,
            "STREAM": stream.name,
            "DATA_DIR": str(services.folder.parent / "data" / stream.mrf),
        }
        producers[stream.topic] = services.start(environment, "crmbot-producer", "run")
        # The busier stream has two consumers.
        for _ in range(2 if stream.name == STREAMS[0] else 1):
            services.start(environment, "crmbot-consumer", "run")
    started = time.monotonic()

    def measure() -> None:
        services.check()
        progress.measure(
            {topic: round(p.metric("crmbot_producer_rows_sent_total")) for topic, p in producers.items()}
        )
        for stream in progress.streams:
            stream.time_backlog()

    _watch(progress, "Loading the backlog", measure, lambda: progress.is_done, DRAIN_SECONDS, console)
    console.print(
        f"backlog loaded in {time.monotonic() - started:.0f} s, including the start of the services"
    )
    if arguments.live_seconds:
        seconds = str(arguments.live_seconds)
        for mrf in arguments.mrfs:
            environment = {"MRF": mrf, "DATA_DIR": str(services.folder.parent / "data" / mrf)}
            speedup = str(_DAY_SECONDS / arguments.live_seconds)
            services.start(
                environment, "crmbot-generator", "live", "--speedup", speedup, "--seconds", seconds
            )
        end = time.monotonic() + arguments.live_seconds
        title = f"A working day of the bots in {seconds} s"
        _watch(progress, title, measure, lambda: time.monotonic() > end, arguments.live_seconds + 60, console)
        bots = [service for service in services.running if "generator" in service.name]
        _watch(
            progress,
            "Loading the last rows",
            measure,
            lambda: not any(bot.is_running for bot in bots) and progress.is_done,
            DRAIN_SECONDS,
            console,
        )
    services.stop()


def _watch(
    progress: Progress,
    title: str,
    measure: Callable[[], None],
    is_over: Callable[[], bool],
    seconds: float,
    console: Console,
) -> None:
    """Show the counts until `is_over`; raise DevstackError after `seconds`."""
    deadline = time.monotonic() + seconds
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            measure()
            live.update(progress.table(title), refresh=True)
            if is_over():
                return
            if time.monotonic() > deadline:
                raise DevstackError(
                    f"{title}: not done within {seconds:.0f} s; see the logs in the demo's directory"
                )
            time.sleep(_REFRESH_SECONDS)


def _audit(services: Services, mrf: str, folder: Path) -> dict[str, object]:
    environment = {"MRF": mrf, "DATA_DIR": str(folder / "data" / mrf)}
    report: dict[str, object] = json.loads(
        services.run(environment, "crmbot-producer", "audit", "--json", codes=(0, 4))
    )
    return report


def _export(services: Services, mrfs: list[str], folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for mrf in mrfs:
        services.run({"MRF": mrf, "OUTPUT_DIR": str(folder)}, "crmbot-exporter", "export")
    services.run({"OUTPUT_DIR": str(folder)}, "crmbot-exporter", "export-russia", "--mrfs", ",".join(mrfs))
    return [*(folder / f"{stream}_{mrf}.xlsx" for mrf in mrfs for stream in STREAMS), folder / "russia.xlsx"]


def _print_verdict(reports: list[dict[str, object]], console: Console) -> None:
    for report in reports:
        if report["clean"]:
            console.print(
                f"audit of {report['mrf']}: [green]clean[/], every row is in the warehouse once, in order"
            )
        else:
            console.print(f"audit of {report['mrf']}: [red]differences[/] {json.dumps(report['streams'])}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--mrfs", type=lambda text: text.split(","), default=["mrf1", "mrf2"], help="mrf1,mrf2"
    )
    parser.add_argument("--rows", type=int, default=200_000, help="backlog of all MRFs together")
    parser.add_argument(
        "--live-seconds", type=int, default=60, help="in how long the bots work a day after the backlog"
    )
    parser.add_argument("--directory", type=Path, default=Path(".demo"), help="data, logs and workbooks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
