"""The results, as tables and as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.measure import Comparison, Run

_MEMORY_LIMIT_MB = 400


def show(comparisons: Sequence[Comparison], runs: Sequence[Run], console: Console) -> None:
    """Print the comparisons, then peak memory, start-up time and CPU time of each service."""
    if comparisons:
        table = _table("comparison", "ratio", "min … max", "target", "", "ours, rows/s", "theirs")
        table.caption = "medians of the rounds' ratios; * without the service's start-up"
        for c in comparisons:
            ratio, spread = f"{median(c.ratios):.2f}", f"{min(c.ratios):.2f} … {max(c.ratios):.2f}"
            rates = f"{median(c.ours):,.0f}", f"{median(c.theirs):,.0f}"
            table.add_row(c.name, ratio, spread, f"≥ {c.target:g}", _verdict(c.is_reached), *rates)
        console.print(table)
    table = _table("command", "peak, MiB", "target", "", "of rows", "start-up, s", "CPU, µs/row", "rows/s")
    for service in dict.fromkeys(run.service for run in runs):
        its = [run for run in runs if run.service == service]
        top = max(its, key=lambda run: run.peak_mb)
        start_up = median(run.start_up_seconds for run in its)
        table.add_row(
            service.removeprefix("crmbot-"),
            f"{top.peak_mb:.0f}",
            f"< {_MEMORY_LIMIT_MB}",
            _verdict(top.peak_mb < _MEMORY_LIMIT_MB),
            f"{top.rows:,} {top.work}",
            f"{start_up:.2f}" if start_up else "",
            f"{median(run.cpu_seconds / run.rows for run in its) * 1e6:.1f}",
            f"{median(run.working_rate for run in its):,.0f}",
        )
    console.print(table)


def write(
    file: Path, settings: dict[str, Any], comparisons: Sequence[Comparison], runs: Sequence[Run]
) -> None:
    """Write every sample."""
    machine = {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    report = {
        "settings": settings,
        "machine": machine,
        "comparisons": [
            asdict(c)
            | {"ratios": c.ratios, "median": median(c.ratios), "min": min(c.ratios), "max": max(c.ratios)}
            | {"reached": c.is_reached}
            for c in comparisons
        ],
        "memory_limit_mb": _MEMORY_LIMIT_MB,
        "runs": [asdict(run) for run in runs],
    }
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _verdict(is_reached: bool) -> str:
    return "[green]reached[/]" if is_reached else "[red]missed[/]"
