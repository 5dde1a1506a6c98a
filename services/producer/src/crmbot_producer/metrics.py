"""All metrics of the producer."""

from prometheus_client import Counter, Gauge, Histogram

ROWS_SENT = Counter("crmbot_producer_rows_sent_total", "Rows committed to Kafka", ["mrf", "stream"])
ROWS_NOT_CARRIED = Counter(
    "crmbot_producer_rows_not_carried_total",
    "Rows that Kafka cannot carry, replaced by a stub",
    ["mrf", "stream"],
)
BACKLOG_ROWS = Gauge(
    "crmbot_producer_backlog_rows", "Rows in SQLite that are not in Kafka yet", ["mrf", "stream"]
)
LAST_ID = Gauge("crmbot_producer_last_transaction_id", "Newest row committed to Kafka", ["mrf", "stream"])
RETRIES = Counter("crmbot_producer_retries_total", "Sessions ended by a transient failure", ["mrf", "stream"])
TRANSACTION_SECONDS = Histogram(
    "crmbot_producer_transaction_seconds",
    "Time of one Kafka transaction, from begin to commit",
    ["mrf", "stream"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
