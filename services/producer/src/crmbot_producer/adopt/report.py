"""Prints the result of `adopt`."""

import click

from crmbot_core.errors import ConfigurationError
from crmbot_producer.adopt.adopt import Adopted
from crmbot_producer.settings import FileSettings


def print_adopted(settings: FileSettings, adopted: Adopted) -> None:
    """Print a line for each mismatch and note, and one for the outcome.

    Raises:
        ConfigurationError: there are mismatches.
    """
    path = settings.database
    if adopted.report:
        for line in (*map(str, adopted.report.mismatches), *(f"note: {n}" for n in adopted.report.notes)):
            click.echo(line)
        if count := len(adopted.report.mismatches):
            raise ConfigurationError(
                f"{path} does not fit the contract: {count} mismatch{'es' if count > 1 else ''}, listed "
                "above; nothing is changed. Fix them, then run this again"
            )
    if adopted.is_new:
        click.echo(
            f"{path} is adopted as source {adopted.source_id}; now: crmbot-producer topics, then "
            f"crmbot-producer run --stream {settings.stream}"
        )
    elif adopted.report is None:
        click.echo(f"{path} is adopted already, as source {adopted.source_id}; nothing is changed")
    elif adopted.source_id:
        click.echo(f"{path} fits the contract, and is adopted as source {adopted.source_id}")
    else:
        click.echo(f"{path} fits the contract; to adopt it, leave out --check")
