"""Command line of the generator."""

import gc
import json
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import click
import structlog
from prometheus_client import Counter

from crmbot_core.errors import ConfigurationError
from crmbot_core.lifecycle import exit_codes, stop_on_signals
from crmbot_core.options import FiniteFloat
from crmbot_core.settings import load as load_settings
from crmbot_core.telemetry import Health, configure_logging, http_endpoint
from crmbot_generator.backfill import finish, write
from crmbot_generator.describe import description
from crmbot_generator.files.bot_files import RandomBytes, check_files, has_rows, translated_errors
from crmbot_generator.files.values import milliseconds, timestamp
from crmbot_generator.live import Bot, open_files
from crmbot_generator.lives.story import COLUMNS
from crmbot_generator.load import Load
from crmbot_generator.parameters import Parameters, Profile, read_parameters
from crmbot_generator.settings import GeneratorSettings
from crmbot_generator.world.history import History, Span
from crmbot_generator.world.world import LOAD_NUMBERS

SERVICE = "crmbot-generator"
ROWS_WRITTEN = Counter("crmbot_generator_rows_written_total", "Rows committed to SQLite", ["mrf"])
_EPILOG = "Settings are environment variables: docs/settings.md."
_TICK_SECONDS = 0.1
# The contract's times are from 2000 to 2099; ten years of work and the burn-in fit before the first end.
_FIRST_END, _LAST_END = datetime(2011, 1, 1), datetime(2099, 12, 31)  # noqa: DTZ001  (as click's are)


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
profile_option = click.option(
    "--profile", type=click.Choice(get_args(Profile)), help="Size of a new world; or PROFILE."
)
parameters_option = click.option(
    "--parameters",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file that overrides the profile; or PARAMETERS.",
)
rows_per_day_option = click.option(
    "--rows-per-day", type=FiniteFloat(0.01, 10**7), help="Rows of an average day, instead of the profile's."
)
until_option = click.option(
    "--until", type=click.DateTime(), callback=_in_contract, help="End of the work, UTC, instead of now."
)
seconds_option = click.option(
    "--seconds", type=FiniteFloat(0, 10**9), help="Stop after so long; otherwise on SIGTERM."
)


@cli.command(epilog=_EPILOG)
@seed_option
@profile_option
@parameters_option
@click.option("--rows", type=click.IntRange(1, 10**9), help="Rows to write, exactly, both files together.")
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="Days of work.")
@rows_per_day_option
@until_option
@click.option(
    "--if-new", is_flag=True, help="Leave files that have rows as they are; otherwise they are an error."
)
def backfill(
    seed: int | None,
    profile: str | None,
    parameters: Path | None,
    rows: int | None,
    days: int,
    rows_per_day: float | None,
    until: datetime | None,
    if_new: bool,
) -> None:
    """Make new files and fill them with past work, as fast as it can."""
    settings = load_settings(GeneratorSettings, seed=seed, profile=profile, parameters=parameters)
    logger = configure_logging(settings, SERVICE).bind(mrf=settings.mrf)
    with translated_errors(settings.data_dir):
        finish(settings.data_dir)
        check_files(settings.data_dir, settings.mrf)
        if has_rows(settings.data_dir):
            if if_new:
                logger.info("the files have rows already: nothing written")
                return
            raise ConfigurationError(
                f"DATA_DIR {settings.data_dir} has rows already: a backfill makes new files"
            )
        gc.disable()  # rows are tuples without cycles; the collector would scan them again and again
        end = until.replace(tzinfo=UTC) if until else datetime.now(UTC)
        span = Span(milliseconds(end - timedelta(days=days)), milliseconds(end))
        started = time.monotonic()
        work = History(settings.mrf, _parameters(settings, rows_per_day), _seed(settings), span, rows)
        number = write(settings.data_dir, work, settings.mrf, _random_bytes(settings))
    seconds = time.monotonic() - started
    logger.info("written", rows=number, seconds=round(seconds, 1), rows_per_second=round(number / seconds))


@cli.command(epilog=_EPILOG)
@seed_option
@profile_option
@parameters_option
@rows_per_day_option
@click.option(
    "--speedup",
    type=FiniteFloat(1, 10**8),
    default=1.0,
    show_default=True,
    help="Seconds of the world in a second, until it has caught up with the clock.",
)
@click.option(
    "--since",
    type=click.DateTime(),
    callback=_in_contract,
    help="Where a new world begins, UTC, instead of now.",
)
@seconds_option
def live(
    seed: int | None,
    profile: str | None,
    parameters: Path | None,
    rows_per_day: float | None,
    speedup: float,
    since: datetime | None,
    seconds: float | None,
) -> None:
    """Work on by the clock, from where the files end."""
    settings = load_settings(GeneratorSettings, seed=seed, profile=profile, parameters=parameters)

    def started(logger: structlog.stdlib.BoundLogger) -> tuple[Callable[[float], int], Callable[[], None]]:
        begins = milliseconds(since.replace(tzinfo=UTC)) if since else _now()
        files = open_files(settings.data_dir, settings.mrf, _now(), os.urandom)
        bot = Bot(files, settings.mrf, _parameters(settings, rows_per_day), _seed(settings), begins)
        first = bot.clock
        logger.info("started", world=timestamp(first), speedup=speedup)

        def step(elapsed: float) -> int:
            present = _now()
            clock = first + round(elapsed * 1000 * speedup) if speedup > 1 else present
            return bot.step(min(clock, present), present)

        return step, files.close

    _run(settings, seconds, started)


@cli.command(epilog=_EPILOG)
@profile_option
@parameters_option
@click.option(
    "--rate", type=FiniteFloat(0.01, 100_000), required=True, help="Rows per second, both files together."
)
@seconds_option
def load(profile: str | None, parameters: Path | None, rate: float, seconds: float | None) -> None:
    """Write so many rows a second from a world that is large enough, while the bot's own stands still."""
    settings = load_settings(GeneratorSettings, profile=profile, parameters=parameters)

    def started(logger: structlog.stdlib.BoundLogger) -> tuple[Callable[[float], int], Callable[[], None]]:
        now = _now()
        files = open_files(settings.data_dir, settings.mrf, now, os.urandom)
        test = Load(settings.mrf, _parameters(settings), rate, now, *files.next_numbers(LOAD_NUMBERS))
        logger.info("started", rate=rate)
        written = 0

        def step(elapsed: float) -> int:
            nonlocal written
            due = int(min(elapsed, seconds or elapsed) * rate) - written
            if due > 0:
                present = _now()
                files.write(test.rows(due, present), present)
                written += due
            return max(due, 0)

        return step, files.close

    _run(settings, seconds, started)


@cli.command(epilog=_EPILOG)
@seed_option
@profile_option
@parameters_option
@rows_per_day_option
def describe(
    seed: int | None, profile: str | None, parameters: Path | None, rows_per_day: float | None
) -> None:
    """Print what the world of an MRF is like: branches, managers, clients, and what to expect of leads."""
    settings = load_settings(GeneratorSettings, seed=seed, profile=profile, parameters=parameters)
    today = datetime.now(UTC).date()
    click.echo(description(settings.mrf, _parameters(settings, rows_per_day), settings.seed or 0, today))


@cli.command(epilog=_EPILOG)
@seed_option
@profile_option
@parameters_option
@click.option("--rows", type=click.IntRange(1, 10**7), default=20, show_default=True, help="Rows to print.")
@until_option
def sample(
    seed: int | None, profile: str | None, parameters: Path | None, rows: int, until: datetime | None
) -> None:
    """Print rows of both streams as JSON lines, and touch no file."""
    settings = load_settings(GeneratorSettings, seed=seed, profile=profile, parameters=parameters)
    end = milliseconds(until.replace(tzinfo=UTC) if until else datetime.now(UTC))
    span = Span(end - 86_400_000, end)
    for row in History(settings.mrf, _parameters(settings), _seed(settings), span, rows).rows():
        values = {"occurred_at": timestamp(row.at)} | dict(zip(COLUMNS[row.stream], row.values, strict=True))
        click.echo(json.dumps({"stream": row.stream} | values, ensure_ascii=False))


def _run(
    settings: GeneratorSettings,
    seconds: float | None,
    start: Callable[[structlog.stdlib.BoundLogger], tuple[Callable[[float], int], Callable[[], None]]],
) -> None:
    """Take steps until the time is over or a signal comes; a step gets the seconds since the start."""
    logger = configure_logging(settings, SERVICE).bind(mrf=settings.mrf)
    stop = stop_on_signals()
    health = Health(stale_seconds=60)
    counter = ROWS_WRITTEN.labels(settings.mrf)
    written = 0
    with http_endpoint(health, settings.http_port) as port, translated_errors(settings.data_dir):
        step, close = start(logger.bind(http_port=port))
        health.set_ready()
        begun = time.monotonic()
        is_over = False
        while not is_over:
            health.beat()
            tick = time.monotonic()
            elapsed = tick - begun
            is_over = stop.is_set() or (seconds is not None and elapsed >= seconds)
            number = step(elapsed)
            counter.inc(number)
            written += number
            if not is_over:
                stop.wait(max(0.0, tick + _TICK_SECONDS - time.monotonic()))
        close()
    logger.info("stopped", rows=written)


def _parameters(settings: GeneratorSettings, rows_per_day: float | None = None) -> Parameters:
    return read_parameters(
        settings.profile, settings.parameters, managers=settings.managers, rows_per_day=rows_per_day
    )


def _seed(settings: GeneratorSettings) -> int:
    return random.SystemRandom().getrandbits(48) if settings.seed is None else settings.seed


def _random_bytes(settings: GeneratorSettings) -> RandomBytes:
    """Return what event ids are made from: repeatable with a seed."""
    if settings.seed is None:
        return os.urandom
    return random.Random(f"{settings.mrf} {settings.seed} events").randbytes


def _now() -> int:
    return milliseconds(datetime.now(UTC))


def main() -> None:
    """Run the command line with the exit codes of `crmbot_core.errors`."""
    with exit_codes(SERVICE):
        cli()
