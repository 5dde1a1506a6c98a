"""Command line of the consumer."""

import gc
import os
import sys
from pathlib import Path
from uuid import UUID

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crmbot_consumer import rejects as rejects_table
from crmbot_consumer.adopt_topic import adopt_topic
from crmbot_consumer.decisions import accept_gap, accept_retention, accept_source, reject_source
from crmbot_consumer.maintain import maintain
from crmbot_consumer.migrate import migrate
from crmbot_consumer.rejects import Place
from crmbot_consumer.run import ConsumerRun
from crmbot_consumer.settings import ConsumerSettings, MaintainSettings, MigrateSettings, TopicSettings
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
# A batch is tens of thousands of tuples without cycles; with Python's default of 700 the collector would scan
# them again and again.
_GC_THRESHOLD = 100_000
# The loader's thread wakes up for every chunk of COPY data; with Python's default of 5 ms it would wait
# longer for the main thread, which prepares the next batch, than for the server.
_SWITCH_SECONDS = 0.0002
_PARTITION = click.IntRange(0, 2**31 - 1)
_OFFSET = click.IntRange(0, 2**63 - 1)
_ID = click.IntRange(0, 2**63 - 1)
_epoch_option = click.option(
    "--epoch",
    type=click.IntRange(0, 2**31 - 1),
    help="Epoch of the log, if the topic was adopted since; the newest by default.",
)


_stream_option = stream_option("Which stream; or STREAM.")


@click.group(epilog=_EPILOG)
@click.version_option(package_name=SERVICE)
def cli() -> None:
    """Load a bot's transactions from Kafka into the warehouse, exactly once."""


@cli.command(epilog=_EPILOG)
@_stream_option
def run(stream: str | None) -> None:
    """Load one stream until stopped. Run as many as the topic has partitions."""
    settings = load(ConsumerSettings, stream=stream)
    kafka = checked_settings()
    logger = configure_logging(settings, SERVICE).bind(mrf=settings.mrf, stream=settings.stream)
    gc.set_threshold(_GC_THRESHOLD)
    sys.setswitchinterval(_SWITCH_SECONDS)
    consumer = ConsumerRun(settings, kafka, stop_on_signals(), logger)
    with http_endpoint(consumer.health, settings.http_port) as port:
        logger.info("started", topic=settings.topic, http_port=port)
        consumer.run()
    logger.info("stopped")


@cli.command("migrate", epilog=_EPILOG)
def migrate_command() -> None:
    """Create or upgrade the MRF's tables; safe to run again and several times at once."""
    applied = migrate(load(MigrateSettings))
    click.echo(f"applied {', '.join(applied)}" if applied else "the tables are up to date")


@cli.command("maintain", epilog=_EPILOG)
@click.option("--reorganize", is_flag=True, help="Also rewrite the streams' tables; loads wait meanwhile.")
def maintain_command(reorganize: bool) -> None:
    """Fold the MRF's old batches in the ledger and analyze its tables, as their owner.

    Consumers may run meanwhile. Safe to kill, to run again, and to run several times at once.
    """
    for line in maintain(load(MaintainSettings), also_reorganize=reorganize):
        click.echo(line)


@cli.command("accept-loss", epilog=_EPILOG)
@_stream_option
@click.option("--partition", type=_PARTITION, required=True, help="Which partition of the topic.")
@click.option("--source-id", type=click.UUID, help="Source whose chain has a gap.")
@click.option("--after-id", type=_ID, help="Its last row before the gap.")
@click.option("--up-to-id", type=_ID, help="The last row of the gap.")
def accept_loss_command(
    stream: str | None, partition: int, source_id: UUID | None, after_id: int | None, up_to_id: int | None
) -> None:
    """Resume after Kafka lost messages that were not loaded.

    What retention deleted needs the partition alone. A gap in a source's chain needs all options, as the
    consumer printed them when it stopped. `crmbot-producer resend` can still fill the gap later.
    """
    settings = load(TopicSettings, stream=stream)
    if source_id is None and after_id is None and up_to_id is None:
        start, end = accept_retention(settings, checked_settings(), partition)
        click.echo(
            f"partition {partition} resumes at offset {end}; the messages from {start} to {end - 1} are lost"
        )
        return
    if source_id is None or after_id is None or up_to_id is None:
        raise click.UsageError("--source-id, --after-id and --up-to-id belong together.")
    accept_gap(settings, partition, str(source_id), (after_id, up_to_id))
    click.echo(f"partition {partition} resumes behind row {up_to_id} of source {source_id}")


@cli.command("reject-source", epilog=_EPILOG)
@_stream_option
@click.option("--source-id", type=click.UUID, required=True, help="Source that belongs to no bot.")
def reject_source_command(stream: str | None, source_id: UUID) -> None:
    """Turn all messages of a source that belongs to no bot into dead letters. Restart the consumers."""
    reject_source(load(TopicSettings, stream=stream), str(source_id))
    click.echo(f"messages of source {source_id} become dead letters once the consumers restart")


@cli.command("accept-source", epilog=_EPILOG)
@_stream_option
@click.option("--source-id", type=click.UUID, required=True, help="Source that was rejected.")
def accept_source_command(stream: str | None, source_id: UUID) -> None:
    """Reverse `reject-source`. Restart the consumers.

    `crmbot-producer resend` then sends the rows that became dead letters again.
    """
    settings = load(TopicSettings, stream=stream)
    accept_source(settings, str(source_id))
    click.echo(
        f"messages of source {source_id} are loaded once the consumers restart; those that became dead "
        f"letters come with: crmbot-producer resend --stream {settings.stream}"
    )


@cli.command("adopt-topic", epilog=_EPILOG)
@_stream_option
def adopt_topic_command(stream: str | None) -> None:
    """Load a topic that was recreated, or that lost its newest messages.

    The chains of the sources resume where they ended, so nothing is loaded twice. Consumers wait for
    `crmbot-producer resend`, which sends again what is missing, and only load what it sends.
    """
    starts = adopt_topic(load(TopicSettings, stream=stream), checked_settings())
    for partition, offset in sorted(starts.items()):
        click.echo(f"partition {partition} resumes at offset {offset}")


@cli.group(epilog=_EPILOG)
def rejects() -> None:
    """Messages that break the contract."""


@rejects.command("list", epilog=_EPILOG)
@_stream_option
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="Rows to show."
)
def list_rejects(stream: str | None, limit: int) -> None:
    """List the stream's rejects, without their contents."""
    settings = load(TopicSettings, stream=stream)
    table = Table(
        "partition", "offset", "epoch", "rejected", "replayed", "reason", title=f"Rejects of {settings.topic}"
    )
    for reject in rejects_table.listed(settings, limit):
        replayed = f"{reject.replayed_at:%Y-%m-%d %H:%M}" if reject.replayed_at else ""
        table.add_row(
            str(reject.kafka_partition),
            str(reject.kafka_offset),
            str(reject.log_epoch),
            f"{reject.rejected_at:%Y-%m-%d %H:%M}",
            replayed,
            escape(reject.reason),
        )
    Console().print(table if table.row_count else f"no rejects of {settings.topic}")


@rejects.command("show", epilog=_EPILOG)
@_stream_option
@click.argument("partition", type=_PARTITION)
@click.argument("offset", type=_OFFSET)
@_epoch_option
def show_reject(stream: str | None, partition: int, offset: int, epoch: int | None) -> None:
    """Write a rejected message to the standard output, byte for byte."""
    settings = load(TopicSettings, stream=stream)
    reject = rejects_table.reject_at(settings, Place(partition, offset, epoch))
    click.echo(f"reason: {reject.reason}", err=True)
    click.echo(f"key: {(reject.message_key or b'').decode(errors='backslashreplace')}", err=True)
    sys.stdout.buffer.write(reject.message_value or b"")


@rejects.command("replay", epilog=_EPILOG)
@_stream_option
@click.argument("partition", type=_PARTITION)
@click.argument("offset", type=_OFFSET)
@_epoch_option
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The repaired message, as JSON.",
)
@click.option("--key", help="The repaired key.")
def replay_reject(
    stream: str | None, partition: int, offset: int, epoch: int | None, file: Path | None, key: str | None
) -> None:
    """Load a rejected message once, unchanged or repaired."""
    settings = load(TopicSettings, stream=stream)
    value = file.read_bytes().strip() if file else None
    place = Place(partition, offset, epoch)
    rejects_table.replay(settings, place, value, os.fsencode(key) if key else None)
    click.echo(f"loaded partition {partition} offset {offset} into {settings.table}")


def main() -> None:
    """Run the command line with the exit codes of `crmbot_core.errors`."""
    with exit_codes(SERVICE):
        cli()
