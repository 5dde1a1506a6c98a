"""Command line of the producer."""

import sys
from uuid import UUID

import click
from rich.console import Console

from crmbot_core.errors import EXIT_DIFFERENCES
from crmbot_core.kafka import checked_settings
from crmbot_core.lifecycle import exit_codes, stop_on_signals
from crmbot_core.options import FiniteFloat, stream_option
from crmbot_core.settings import load
from crmbot_core.telemetry import configure_logging, http_endpoint
from crmbot_producer.adopt.adopt import adopt
from crmbot_producer.adopt.report import print_adopted
from crmbot_producer.audit.report import as_json, print_report
from crmbot_producer.audit.verdict import audit
from crmbot_producer.audit.warehouse_only import audit_warehouse
from crmbot_producer.new_source import new_source
from crmbot_producer.repartition import repartition
from crmbot_producer.resend import resend
from crmbot_producer.run import ProducerRun
from crmbot_producer.settings import (
    AuditSettings,
    FileSettings,
    ProducerSettings,
    RecoverySettings,
    TopicSettings,
)
from crmbot_producer.topics import make_topics

SERVICE = "crmbot-producer"
_EPILOG = (
    "Settings are environment variables: docs/settings.md. Exit codes: 0 done, 1 crashed or stuck, "
    "2 wrong settings, 3 stopped to protect the data, 4 the audit found differences."
)
_stream_option = stream_option("Which of the bot's files; or STREAM.")


@click.group(epilog=_EPILOG)
@click.version_option(package_name=SERVICE)
def cli() -> None:
    """Send a bot's new transactions to Kafka, exactly once, and audit what arrived in the warehouse."""


@cli.command(epilog=_EPILOG)
@_stream_option
def run(stream: str | None) -> None:
    """Send new rows of one stream until stopped."""
    settings = load(ProducerSettings, stream=stream)
    kafka = checked_settings()
    logger = configure_logging(settings, SERVICE).bind(mrf=settings.mrf, stream=settings.stream)
    producer = ProducerRun(settings, kafka, stop_on_signals(), logger)
    with http_endpoint(producer.health, settings.http_port) as port:
        logger.info("started", database=str(settings.database), http_port=port)
        producer.run()
    logger.info("stopped")


@cli.command(epilog=_EPILOG)
def topics() -> None:
    """Create the MRF's missing topics and partitions; safe to run again.

    Added partitions stay empty until `repartition`.
    """
    settings = load(TopicSettings)
    made, raised = make_topics(checked_settings(), settings)
    if made:
        click.echo(f"created {', '.join(made)}")
    for topic in raised:
        stream = topic.split("_")[2]
        click.echo(
            f"{topic} has {settings.partitions} partitions now; to use all: crmbot-producer repartition "
            f"--stream {stream}"
        )
    if not made and not raised:
        click.echo("all topics exist")


@cli.command("adopt", epilog=_EPILOG)
@_stream_option
@click.option("--check", "check_only", is_flag=True, help="Only report, even if the file is already adopted.")
def adopt_command(stream: str | None, check_only: bool) -> None:
    """Check the file of a bot of your own against the contract, and give it its identity: docs/own-bot.md.

    The file has the contract's table, or a view with its columns over the bot's own tables. Each mismatch is
    a line with the SQL that mends it. If there is none, the table `source` is made; nothing else is written.
    Safe to run again, and while the bot works.
    """
    settings = load(FileSettings, stream=stream)
    print_adopted(settings, adopt(settings, check_only=check_only))


@cli.command("repartition", epilog=_EPILOG)
@_stream_option
def repartition_command(stream: str | None) -> None:
    """Spread one stream's rows over all partitions that its topic has now.

    A lead's rows stay in order because everything that was sent has to be loaded before: stop the producer
    and wait until the consumers have caught up. A producer that still runs is fenced and ends with 3.
    """
    settings = load(RecoverySettings, stream=stream)
    before, now = repartition(settings, checked_settings())
    if before is None:
        click.echo(
            f"nothing of {settings.database} has been sent yet: its rows will go to all {now} partitions"
        )
    elif before == now:
        click.echo(f"rows of {settings.database} go to all {now} partitions already")
    else:
        click.echo(f"new rows of {settings.database} go to {now} partitions, those before to {before}")


@cli.command("resend", epilog=_EPILOG)
@_stream_option
@click.option(
    "--partitions",
    type=click.IntRange(1, 100_000),
    help="Number of partitions in use, if it cannot be determined.",
)
def resend_command(stream: str | None, partitions: int | None) -> None:
    """Send again what the warehouse lacks of one stream: after Kafka lost messages or the producer's records.

    The resume point is read from the warehouse, which must have been loaded from the current topic. A
    producer that still runs is fenced and ends with 3; start it again afterwards. Rows that are loaded are
    dropped when they come again. Safe to run again.
    """
    settings = load(RecoverySettings, stream=stream)
    resent = resend(settings, checked_settings(), partitions)
    for record in resent.records:
        click.echo(
            f"rows of {settings.database} after {record.transaction_id} go to {resent.partitions} partitions "
            f"where the warehouse lacks them: source {record.source_id}"
        )


@cli.command("new-source", epilog=_EPILOG)
@_stream_option
@click.option(
    "--after",
    type=click.IntRange(0, 2**63 - 1),
    help="The row you expect to be the last of the old identity; any other is refused.",
)
@click.option(
    "--former-source",
    "former_sources",
    type=click.UUID,
    multiple=True,
    help="A source_id that the file had before it was restored; repeatable.",
)
def new_source_command(stream: str | None, after: int | None, former_sources: tuple[UUID, ...]) -> None:
    """Give a file that was restored from a backup a new identity, so that the producer can resume.

    It begins after the last row that file and warehouse share, so everything that was sent has to be loaded
    before. A producer that still runs is fenced and ends with 3; start it again afterwards. Safe to run
    again.
    """
    settings = load(RecoverySettings, stream=stream)
    added = new_source(settings, checked_settings(), after, list(map(str, former_sources)))
    click.echo(f"{settings.database}: rows after {added.starts_after} belong to source {added.source_id}")
    if added.unknown:
        click.echo(f"sources sent before that this file does not know: {', '.join(added.unknown)}")


@cli.command("audit", epilog=_EPILOG)
@click.option(
    "--wait",
    type=FiniteFloat(min=0, max=86_400),
    default=0,
    show_default=True,
    help="Seconds to wait for rows in flight.",
)
@click.option(
    "--former-source",
    "former_sources",
    type=click.UUID,
    multiple=True,
    help="A source_id that the files do not know, but whose rows may be in the warehouse; repeatable.",
)
@click.option(
    "--warehouse-only",
    is_flag=True,
    help="Read no file: check in the warehouse alone that the chains are complete.",
)
@click.option("--json", "is_json", is_flag=True, help="Print one line of JSON instead of a table.")
def audit_command(wait: float, former_sources: tuple[UUID, ...], warehouse_only: bool, is_json: bool) -> None:
    """Compare the bot's files with the warehouse, row by row and both ways."""
    if warehouse_only and (wait or former_sources):
        raise click.UsageError("--warehouse-only reads no file: leave out --wait and --former-source")
    settings = load(AuditSettings)
    if warehouse_only:
        audits = audit_warehouse(settings, settings.mrf)
    else:
        audits = audit(settings, settings.data_dir, settings.mrf, wait, set(map(str, former_sources)))
    if is_json:
        click.echo(as_json(settings.mrf, audits))
    else:
        print_report(settings.mrf, audits, Console())
    if not all(stream.is_clean for stream in audits):
        sys.exit(EXIT_DIFFERENCES)


def main() -> None:
    """Run the command line with the exit codes of `crmbot_core.errors`."""
    with exit_codes(SERVICE):
        cli()
