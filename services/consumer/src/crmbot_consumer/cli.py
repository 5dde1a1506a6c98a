"""Command line of the consumer."""

import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from crmbot_consumer import rejects as rejects_table
from crmbot_consumer.accept_loss import accept_loss
from crmbot_consumer.migrate import migrate
from crmbot_consumer.run import ConsumerRun
from crmbot_consumer.settings import ConsumerSettings, MigrateSettings, TopicSettings
from crmbot_core.errors import ConfigurationError
from crmbot_core.kafka import checked_settings
from crmbot_core.lifecycle import exit_codes, stop_on_signals
from crmbot_core.options import stream_option
from crmbot_core.settings import load
from crmbot_core.telemetry import configure_logging, http_endpoint

SERVICE = "crmbot-consumer"
_EPILOG = (
    "Settings are environment variables: docs/settings.md. Exit codes: 0 done, 1 crashed or stuck, "
    "2 wrong settings, 3 stopped to protect the data."
)
_PARTITION = click.IntRange(0, 2**31 - 1)
_OFFSET = click.IntRange(0, 2**63 - 1)


_stream_option = stream_option("Which stream; or STREAM.")


@click.group(epilog=_EPILOG)
@click.version_option(package_name=SERVICE)
def cli() -> None:
    """Load a bot's transactions from Kafka into the warehouse, exactly once."""


@cli.command(epilog=_EPILOG)
@_stream_option
def run() -> None:
    """Load one stream until told to stop. Run as many as the topic has partitions."""
    settings = load(ConsumerSettings)
    kafka = checked_settings()
    logger = configure_logging(settings, SERVICE).bind(mrf=settings.mrf, stream=settings.stream)
    consumer = ConsumerRun(settings, kafka, stop_on_signals(), logger)
    with http_endpoint(consumer.health, settings.http_port) as port:
        logger.info("started", topic=settings.topic, http_port=port)
        consumer.run()
    logger.info("stopped")


@cli.command("migrate", epilog=_EPILOG)
def migrate_command() -> None:
    """Create or upgrade the MRF's tables; safe to run again and by several at once."""
    applied = migrate(load(MigrateSettings))
    click.echo(f"applied {', '.join(applied)}" if applied else "the tables are up to date")


@cli.command("accept-loss", epilog=_EPILOG)
@_stream_option
@click.option("--partition", type=_PARTITION, required=True, help="Which partition of the topic.")
def accept_loss_command(partition: int) -> None:
    """Go on after Kafka deleted messages that were not loaded; the ledger keeps the gap."""
    start, end = accept_loss(load(TopicSettings), checked_settings(), partition)
    click.echo(
        f"partition {partition} goes on at offset {end}; the messages from {start} to {end - 1} are lost"
    )


@cli.group(epilog=_EPILOG)
def rejects() -> None:
    """Messages that break the contract."""


@rejects.command("list", epilog=_EPILOG)
@_stream_option
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Rows to show."
)
def list_rejects(limit: int) -> None:
    """List the stream's rejects, without what they hold."""
    settings = load(TopicSettings)
    table = Table(
        "partition", "offset", "rejected", "replayed", "reason", title=f"Rejects of {settings.topic}"
    )
    for reject in rejects_table.rejected(settings, limit):
        replayed = f"{reject.replayed_at:%Y-%m-%d %H:%M}" if reject.replayed_at else ""
        table.add_row(
            str(reject.kafka_partition),
            str(reject.kafka_offset),
            f"{reject.rejected_at:%Y-%m-%d %H:%M}",
            replayed,
            reject.reason,
        )
    Console().print(table if table.row_count else f"no rejects of {settings.topic}")


@rejects.command("show", epilog=_EPILOG)
@_stream_option
@click.argument("partition", type=_PARTITION)
@click.argument("offset", type=_OFFSET)
def show_reject(partition: int, offset: int) -> None:
    """Write a rejected message to the standard output, byte for byte."""
    settings = load(TopicSettings)
    reject = next(rejects_table.rejected(settings, 1, (partition, offset)), None)
    if reject is None:
        raise ConfigurationError(f"no reject at partition {partition} offset {offset} of {settings.topic}")
    click.echo(f"reason: {reject.reason}", err=True)
    click.echo(f"key: {(reject.message_key or b'').decode(errors='backslashreplace')}", err=True)
    sys.stdout.buffer.write(reject.message_value or b"")


@rejects.command("replay", epilog=_EPILOG)
@_stream_option
@click.argument("partition", type=_PARTITION)
@click.argument("offset", type=_OFFSET)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The message put right, as JSON.",
)
@click.option("--key", help="The key put right.")
def replay_reject(partition: int, offset: int, file: Path | None, key: str | None) -> None:
    """Load a rejected message, as it is or put right, once."""
    settings = load(TopicSettings)
    value = file.read_bytes().strip() if file else None
    rejects_table.replay(settings, partition, offset, value, os.fsencode(key) if key else None)
    click.echo(f"loaded partition {partition} offset {offset} into {settings.table}")


def main() -> None:
    """Run the command line with the exit codes of `crmbot_core.errors`."""
    with exit_codes(SERVICE):
        cli()
