"""The audit's verdict, for people and for machines."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from crmbot_producer.audit.compare import Difference
from crmbot_producer.audit.result import StreamAudit


def print_report(mrf: str, audits: Sequence[StreamAudit], console: Console) -> None:
    """Print a table with the verdicts, then the findings."""
    table = Table(title=f"Audit of {mrf}", title_justify="left")
    table.add_column("stream")
    for name in ("SQLite", "warehouse", "dead letters", "duplicates dropped", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for audit in audits:
        table.add_row(
            audit.stream,
            "not read" if audit.rows_in_file is None else f"{audit.rows_in_file:,}",
            f"{audit.rows_in_warehouse:,}",
            f"{audit.rejected:,}",
            f"{audit.duplicates_dropped:,}",
            f"{audit.seconds:.1f}",
            "[green]clean[/]" if audit.is_clean else "[red]broken[/]",
        )
    console.print(table)
    for audit in audits:
        _print_findings(audit, console)


def _print_findings(audit: StreamAudit, console: Console) -> None:
    """Print the findings without markup, because they contain text from files and messages."""

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    for note in audit.notes:
        say(f"{audit.stream}: note: {note}")
    for promise in audit.broken_promises:
        say(f"{audit.stream}: {promise}", "red")
    for example in audit.examples:
        say(f"  {_formatted(example)}")


def _formatted(example: Difference) -> str:
    event = example.event_id if example.event_id.isprintable() else ascii(example.event_id)
    parts = [f"{example.kind}: source {example.source_id} transaction {example.transaction_id}"]
    parts += [f"event {event}"] if event else []
    return " ".join(parts) + (f", {example.detail}" if example.detail else "")


def as_json(mrf: str, audits: Iterable[StreamAudit]) -> str:
    """Return the result as one line of JSON."""
    streams = [asdict(audit) | {"clean": audit.is_clean} for audit in audits]
    return json.dumps({"mrf": mrf, "clean": all(stream["clean"] for stream in streams), "streams": streams})
