"""Command line of the generator."""

import itertools
import random
import time
from datetime import UTC, datetime, timedelta

import click
from prometheus_client import Counter

from crmbot_core.errors import ConfigurationError
from crmbot_core.lifecycle import exit_codes, stop_on_signals
from crmbot_core.options import FiniteFloat
from crmbot_core.settings import load
from crmbot_core.telemetry import Health, configure_logging, http_endpoint
from crmbot_generator.settings import GeneratorSettings
from crmbot_generator.simulation import ROWS_DELAY, ROWS_PER_LEAD, Continuation, Simulation
from crmbot_generator.sqlite import BotFiles
from crmbot_generator.vocabulary import Vocabulary

SERVICE = "crmbot-generator"
ROWS_WRITTEN = Counter("crmbot_generator_rows_written_total", "Rows committed to SQLite", ["mrf"])
_EPILOG = "Settings are environment variables: docs/settings.md."
_BATCH_ROWS = 5_000
_TICK_SECONDS = 0.1
# How thick the simulated work is; `live` takes its order from it, and its pace from the clock.
_LIVE_LEAD_INTERVAL = timedelta(minutes=5)
# The contract's times are from 2000 to 2099; ten years of work fit before the first end.
_FIRST_END, _LAST_END = datetime(2010, 1, 1), datetime(2099, 12, 31)  # noqa: DTZ001  (as click's are)


@click.group(epilog=_EPILOG)
@click.version_option(package_name=SERVICE)
def cli() -> None:
    """Imitate managers' work in a sales bot: fill actions.db and nature.db of one MRF."""


def _in_contract(
    _context: click.Context, _parameter: click.Parameter, value: datetime | None
) -> datetime | None:
    if value is not None and not _FIRST_END <= value <= _LAST_END:
        raise click.BadParameter(f"give a day from {_FIRST_END:%Y-%m-%d} to {_LAST_END:%Y-%m-%d}.")
    return value


seed_option = click.option("--seed", type=int, help="Makes a backfill repeatable; or SEED.")


@cli.command(epilog=_EPILOG)
@seed_option
@click.option("--rows", type=click.IntRange(1, 10**9), help="Rows to write, both files together.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days of work that end now.  [default: 90]")
@click.option(
    "--rows-per-day",
    type=click.IntRange(1, 10**6),
    default=2_000,
    show_default=True,
    help="Rows for each of the days, without --rows.",
)
@click.option(
    "--until", type=click.DateTime(), callback=_in_contract, help="End of the work, UTC, instead of now."
)
@click.option(
    "--if-new", is_flag=True, help="Leave files that have rows as they are; otherwise they are an error."
)
def backfill(
    seed: int | None,
    rows: int | None,
    days: int | None,
    rows_per_day: int,
    until: datetime | None,
    if_new: bool,
) -> None:
    """Make new files and fill them with past work, as fast as it can."""
    settings = load(GeneratorSettings, seed=seed)
    logger = configure_logging(settings, SERVICE).bind(mrf=settings.mrf)
    span = timedelta(days=days or 90)
    rows = rows or span.days * rows_per_day
    end = until.replace(tzinfo=UTC) if until else datetime.now(UTC)
    rng = random.Random(None if settings.seed is None else f"{settings.mrf} {settings.seed} backfill")
    files = BotFiles(settings.data_dir, settings.mrf, rng)
    if any(files.count().values()):
        if if_new:
            logger.info("the files have rows already: nothing written")
            return
        raise ConfigurationError(f"DATA_DIR {settings.data_dir} has rows already: a backfill makes new files")
    # Leads come evenly, and at such a rate that their rows fill the span.
    interval = max(span - ROWS_DELAY, span / 3) / (rows / ROWS_PER_LEAD)
    vocabulary = Vocabulary(settings.mrf, settings.seed or 0, settings.managers)
    simulation = Simulation(settings.mrf, vocabulary, rng, end - span, interval, Continuation())
    started = time.monotonic()
    events = itertools.islice(simulation.events(), rows)
    for batch in iter(lambda: list(itertools.islice(events, _BATCH_ROWS)), []):
        files.append(batch, not_after=end)
    files.close()
    seconds = time.monotonic() - started
    logger.info("written", rows=rows, seconds=round(seconds, 1), rows_per_second=round(rows / seconds))


@cli.command(epilog=_EPILOG)
@seed_option
@click.option(
    "--rate", type=FiniteFloat(0.01, 100_000), default=5.0, show_default=True, help="Rows per second."
)
@click.option("--seconds", type=FiniteFloat(0, 10**9), help="Stop after so long; otherwise on SIGTERM.")
def live(seed: int | None, rate: float, seconds: float | None) -> None:
    """Work on at a steady rate, from where the files end."""
    settings = load(GeneratorSettings, seed=seed)
    logger = configure_logging(settings, SERVICE).bind(mrf=settings.mrf)
    stop = stop_on_signals()
    health = Health(stale_seconds=60)
    # Not repeatable: what comes depends on the files and on the clock.
    rng = random.Random()
    vocabulary = Vocabulary(settings.mrf, settings.seed or 0, settings.managers)
    written = 0
    with http_endpoint(health, settings.http_port) as port:
        files = BotFiles(settings.data_dir, settings.mrf, rng)
        now = datetime.now(UTC)
        simulation = Simulation(settings.mrf, vocabulary, rng, now, _LIVE_LEAD_INTERVAL, files.continuation())
        events = simulation.events()
        logger.info("started", rate=rate, http_port=port)
        health.set_ready()
        started = time.monotonic()
        elapsed = 0.0
        while not stop.wait(_TICK_SECONDS) and (seconds is None or elapsed < seconds):
            health.beat()
            elapsed = time.monotonic() - started
            due = int(min(elapsed, seconds or elapsed) * rate) - written
            count = files.append(itertools.islice(events, max(due, 0)), at=datetime.now(UTC))
            ROWS_WRITTEN.labels(settings.mrf).inc(count)
            written += count
    files.close()
    logger.info("stopped", rows=written)


def main() -> None:
    """Run the command line with the exit codes of `crmbot_core.errors`."""
    with exit_codes(SERVICE):
        cli()
