"""`python -m bench`: the services compared with plain tools, in one run on one machine.

The two sides of a comparison alternate and process the same rows of the actions stream. A service's time runs
from the start of its process to the commit of the last row, in the ledger or the state topic. Without
start-up, it runs from an event in the service's log: the consumer has been assigned its partitions and has
not fetched a message; the producer has fenced its predecessor and has not read a row. With a multiple of
20,000 rows (BATCH_ROWS), the consumer's last batch is full and does not wait for BATCH_SECONDS.
"""

import os
import sys
import tempfile
from pathlib import Path

import click
import psycopg
from rich.console import Console

from bench import parts
from bench.measure import BenchError, Comparison, Run
from bench.pipeline import Pipeline
from bench.report import show, write
from crmbot_core.errors import CrmBotError
from devstack import DevstackError, Kafka, Postgres
from devstack.services import Services

_ROOT = Path(__file__).parents[1]
_PARTS = ("consumer", "producer", "memory")


@click.command()
@click.option("--rows", type=click.IntRange(min=20_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Rounds to measure.")
@click.option(
    "--insert-rows",
    type=click.IntRange(min=1_000),
    default=50_000,
    show_default=True,
    help="Rows for the INSERT loop, at most --rows.",
)
@click.option("--only", type=click.Choice(_PARTS), multiple=True, help="Only this part.  [default: all]")
def main(rows: int, rounds: int, insert_rows: int, only: tuple[str, ...]) -> None:
    """Compare consumer and producer with plain tools, and measure the peak memory of every service."""
    insert_rows = min(insert_rows, rows)
    settings = {"rows": rows, "rounds": rounds, "insert_rows": insert_rows, "load_before": os.getloadavg()[0]}
    build = _ROOT / "build"
    build.mkdir(exist_ok=True)
    console = Console()
    if not console.is_terminal:
        console.width = 110
    runs: list[Run] = []
    comparisons: list[Comparison] = []

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    say(f"{rows:,} rows, {rounds} rounds; load average before the run: {settings['load_before']:.1f}")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-", dir=build, ignore_cleanup_errors=True) as name,
            Kafka(Path(name) / "kafka") as kafka,
            # Tables are truncated and loaded repeatedly: autovacuum would distort the measurements.
            Postgres(Path(name) / "postgres", settings={"autovacuum": "off"}) as postgres,
            psycopg.connect(postgres.dsn, autocommit=True) as warehouse,
        ):
            folder = Path(name)
            services = Services(folder, _environment(kafka, postgres))
            pipeline = Pipeline(services, folder / "data", kafka.bootstrap_servers, postgres.dsn, warehouse)
            try:
                runs += [pipeline.backfill(rows), pipeline.produce("actions")]
                if "consumer" in (only or _PARTS):
                    comparisons += parts.consumer(pipeline, rows, rounds, insert_rows, folder, runs, say)
                if "memory" in (only or _PARTS):
                    parts.memory(pipeline, rows, folder, runs, say)
                if "producer" in (only or _PARTS):  # last, because it gives the files to other MRFs
                    comparisons += parts.producer(pipeline, rounds, runs, say)
            finally:
                services.stop()
    except (BenchError, CrmBotError, DevstackError) as error:
        sys.exit(f"bench: {error}")
    show(comparisons, runs, console)
    write(build / "bench.json", settings, comparisons, runs)
    say("every sample is in build/bench.json")


def _environment(kafka: Kafka, postgres: Postgres) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "WAREHOUSE_DSN": postgres.dsn,
        "SQL_DIR": str(_ROOT / "sql"),
        "PARTITIONS": str(parts.PARTITIONS),
        "REPLICATION_FACTOR": "1",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
    }


if __name__ == "__main__":
    main()
