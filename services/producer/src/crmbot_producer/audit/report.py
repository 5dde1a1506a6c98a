"""The audit's verdict, for people and for machines."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from crmbot_producer.audit.verdict import StreamAudit


def print_report(mrf: str, audits: Iterable[StreamAudit], console: Console) -> None:
    """Print a table, what differs, and the verdict."""
    table = Table(title=f"Audit of {mrf}", title_justify="left")
    table.add_column("stream")
    for name in ("SQLite", "warehouse", "rejected", "duplicates dropped", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for audit in audits:
        table.add_row(
            audit.stream,
            f"{audit.rows_in_file:,}",
            f"{audit.rows_in_warehouse:,}",
            f"{audit.rejected:,}",
            f"{audit.duplicates_dropped:,}",
            f"{audit.seconds:.1f}",
            "[green]clean[/]" if audit.is_clean else "[red]broken[/]",
        )
    console.print(table)
    for audit in audits:
        for note in audit.notes:
            console.print(f"{audit.stream}: note: {note}")
        for promise in audit.broken_promises:
            console.print(f"{audit.stream}: [red]{promise}[/]")
        for example in audit.examples:
            console.print(
                f"  {example.kind}: source {example.source_id} transaction {example.transaction_id} "
                f"event {example.event_id}",
                highlight=False,
                soft_wrap=True,
            )


def as_json(mrf: str, audits: Iterable[StreamAudit]) -> str:
    """Return the result as one line of JSON."""
    streams = [asdict(audit) | {"clean": audit.is_clean} for audit in audits]
    return json.dumps({"mrf": mrf, "clean": all(stream["clean"] for stream in streams), "streams": streams})
