"""All metrics of the consumer."""

import time
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

_LABELS = ["mrf", "stream"]
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

ROWS_LOADED = Counter("crmbot_consumer_rows_loaded_total", "Rows committed to the warehouse", _LABELS)
ROWS_REJECTED = Counter(
    "crmbot_consumer_rows_rejected_total", "Messages committed to the rejects table", _LABELS
)
ROWS_DUPLICATE = Counter(
    "crmbot_consumer_rows_duplicate_total", "Messages dropped because the warehouse already had them", _LABELS
)
ROWS_SUPERSEDED = Counter(
    "crmbot_consumer_rows_superseded_total",
    "Messages behind a gap that were passed over because a resend brings their rows again",
    _LABELS,
)
RETRIES = Counter(
    "crmbot_consumer_retries_total",
    "Retries after uncommitted work was dropped",
    [*_LABELS, "cause"],
)
PREPARE_SECONDS = Histogram(
    "crmbot_consumer_prepare_seconds", "Time to check and format one batch", _LABELS, buckets=_SECONDS
)
LOAD_SECONDS = Histogram(
    "crmbot_consumer_load_seconds", "Time of one warehouse transaction", _LABELS, buckets=_SECONDS
)
BATCH_ROWS = Histogram(
    "crmbot_consumer_batch_rows",
    "Messages in one batch",
    _LABELS,
    buckets=(1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000),
)
LATENCY_SECONDS = Histogram(
    "crmbot_consumer_latency_seconds",
    "Time from the broker's timestamp of a batch's oldest message to its commit in the warehouse",
    _LABELS,
    buckets=_SECONDS,
)
LAG_ROWS = Gauge(
    "crmbot_consumer_lag_rows",
    "Consumer lag: messages in Kafka that are not loaded yet",
    [*_LABELS, "partition"],
)
LAG_SECONDS = Gauge(
    "crmbot_consumer_lag_seconds",
    "Age, by the broker's timestamp, of the oldest message that was read and is not loaded yet, or 0",
    _LABELS,
)
PARTITIONS = Gauge("crmbot_consumer_partitions", "Partitions assigned to this consumer", _LABELS)


@dataclass
class Waiting:
    """The broker's timestamp of the oldest message not yet loaded, in seconds since 1970."""

    since: float | None = None

    def seconds(self) -> float:
        """Return its age; computed on each scrape, so it keeps growing while the warehouse is unavailable."""
        return 0.0 if self.since is None else max(0.0, time.time() - self.since)
