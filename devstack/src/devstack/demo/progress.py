"""How far the rows have come: counted in SQLite, by the producers, and in the warehouse's ledger."""

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
class Lane:
    """One MRF and stream. `seconds`: from the backlog's first row in Kafka to its last one loaded."""

    mrf: str
    stream: str
    in_sqlite: int = 0
    in_kafka: int = 0
    in_warehouse: int = 0
    rejected: int = 0
    settled: int = 0
    backlog: int = 0
    began: float | None = None
    seconds: float | None = None
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10))

    @property
    def topic(self) -> str:
        return f"crm_bot_{self.stream}_{self.mrf}"

    def time_backlog(self) -> None:
        """Note when the backlog begins to flow and when it has been loaded."""
        self.backlog = self.backlog or self.in_sqlite
        if self.began is None and self.in_kafka:
            self.began = self.recent[-2][0] if len(self.recent) > 1 else self.recent[-1][0]
        if self.began is not None and self.seconds is None and self.settled >= self.backlog:
            self.seconds = self.recent[-1][0] - self.began

    @property
    def lag(self) -> int:
        return self.in_sqlite - self.settled

    @property
    def rate(self) -> float:
        """Rows per second into the warehouse over the last few measurements."""
        (then, rows), (now, newest) = self.recent[0], self.recent[-1]
        return (newest - rows) / (now - then) if now > then else 0.0


class Progress:
    """Counts all lanes together."""

    def __init__(self, mrfs: list[str], data: Path, connection: psycopg.Connection) -> None:
        self.lanes = [Lane(mrf, stream) for mrf in mrfs for stream in STREAMS]
        self._data = data
        self._connection = connection

    def measure(self, sent: dict[str, int]) -> None:
        """Count again; `sent` is what the producers have sent, by topic."""
        ledger = {topic: counts for topic, *counts in self._connection.execute(_LEDGER)}
        now = time.monotonic()
        for lane in self.lanes:
            lane.in_sqlite = _rows(self._data / lane.mrf / f"{lane.stream}.db", lane.stream)
            lane.in_kafka = max(lane.in_kafka, sent.get(lane.topic, 0))
            loaded, rejected, duplicates = map(int, ledger.get(lane.topic, (0, 0, 0)))
            lane.in_warehouse, lane.rejected = loaded, rejected
            lane.settled = loaded + rejected + duplicates
            lane.recent.append((now, loaded))

    @property
    def is_done(self) -> bool:
        """Whether every row of the bots has been loaded or rejected, and counted on its way."""
        return all(lane.lag == 0 and lane.in_kafka >= lane.in_sqlite for lane in self.lanes)

    def table(self, title: str, *, is_final: bool = False) -> Table:
        """Return the lanes as a table; the final one shows the backlog's rate instead of the present one."""
        table = Table(title=title, title_justify="left")
        table.add_column("MRF")
        table.add_column("stream")
        for name in ("SQLite", "Kafka", "warehouse", "rejected", "rows/s", "lag"):
            table.add_column(name, justify="right")
        for lane in self.lanes:
            rate = lane.rate
            if is_final and lane.seconds:
                rate = lane.backlog / lane.seconds
            counts = (lane.in_sqlite, lane.in_kafka, lane.in_warehouse, lane.rejected, round(rate), lane.lag)
            table.add_row(lane.mrf, lane.stream, *(f"{count:,}" for count in counts))
        return table


def _rows(database: Path, table: str) -> int:
    """Return the newest id, which is the number of rows: the bot deletes none."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute(f"SELECT max(transaction_id) FROM {table}").fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0
