"""The progress of the rows: counted in SQLite, by the producers, and in the warehouse's ledger."""

import sqlite3
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from rich.table import Table

STREAMS = ("actions", "nature")
_LEDGER = """
    SELECT topic, sum(rows_loaded), sum(rows_rejected), sum(rows_duplicate) FROM crm_bot_ledger GROUP BY topic
"""


@dataclass
class StreamProgress:
    """The counts of one MRF and stream.

    `processed` rows are loaded, rejected or dropped as duplicates. `seconds` is the time from the backlog's
    first row in Kafka until its last one is processed.
    """

    mrf: str
    name: str
    in_sqlite: int = 0
    in_kafka: int = 0
    in_warehouse: int = 0
    rejected: int = 0
    processed: int = 0
    backlog: int = 0
    began: float | None = None
    seconds: float | None = None
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10))

    @property
    def topic(self) -> str:
        """The Kafka topic; the warehouse table has the same name."""
        return f"crm_bot_{self.name}_{self.mrf}"

    def time_backlog(self) -> None:
        """Record when the first row of the backlog is in Kafka, and when the backlog is processed."""
        self.backlog = self.backlog or self.in_sqlite
        if self.began is None and self.in_kafka:
            self.began = self.recent[-2][0] if len(self.recent) > 1 else self.recent[-1][0]
        if self.began is not None and self.seconds is None and self.processed >= self.backlog:
            self.seconds = self.recent[-1][0] - self.began

    @property
    def lag(self) -> int:
        """Rows in SQLite that are not yet processed."""
        return self.in_sqlite - self.processed

    @property
    def rate(self) -> float:
        """Rows loaded per second over the last few measurements."""
        (then, rows), (now, newest) = self.recent[0], self.recent[-1]
        return (newest - rows) / (now - then) if now > then else 0.0


class Progress:
    """The counts of all MRFs and streams."""

    def __init__(self, mrfs: list[str], data: Path, connection: psycopg.Connection) -> None:
        self.streams = [StreamProgress(mrf, stream) for mrf in mrfs for stream in STREAMS]
        self._data = data
        self._connection = connection

    def measure(self, sent: dict[str, int]) -> None:
        """Update the counts; `sent` are the rows that the producers have sent, by topic."""
        ledger = {topic: counts for topic, *counts in self._connection.execute(_LEDGER)}
        now = time.monotonic()
        for stream in self.streams:
            stream.in_sqlite = _rows(self._data / stream.mrf / f"{stream.name}.db", stream.name)
            stream.in_kafka = max(stream.in_kafka, sent.get(stream.topic, 0))
            loaded, rejected, duplicates = map(int, ledger.get(stream.topic, (0, 0, 0)))
            stream.in_warehouse, stream.rejected = loaded, rejected
            stream.processed = loaded + rejected + duplicates
            stream.recent.append((now, loaded))

    @property
    def is_done(self) -> bool:
        """Whether every row of the bots has been sent and processed."""
        return all(stream.lag == 0 and stream.in_kafka >= stream.in_sqlite for stream in self.streams)

    def table(self, title: str, *, is_final: bool = False) -> Table:
        """Return the counts as a table; the final one shows the backlog's rate instead of the current one."""
        table = Table(title=title, title_justify="left")
        table.add_column("MRF")
        table.add_column("stream")
        for name in ("SQLite", "Kafka", "warehouse", "rejected", "rows/s", "lag"):
            table.add_column(name, justify="right")
        for stream in self.streams:
            rate = stream.rate
            if is_final and stream.seconds:
                rate = stream.backlog / stream.seconds
            counts = (
                stream.in_sqlite,
                stream.in_kafka,
                stream.in_warehouse,
                stream.rejected,
                round(rate),
                stream.lag,
            )
            table.add_row(stream.mrf, stream.name, *(f"{count:,}" for count in counts))
        return table


def _rows(database: Path, table: str) -> int:
    """Return the newest id, which equals the number of rows, because the bot deletes none."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute(f"SELECT max(transaction_id) FROM {table}").fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0
