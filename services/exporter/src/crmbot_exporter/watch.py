"""Serves the modification time and size of the workbooks in OUTPUT_DIR as metrics."""

import threading
from collections.abc import Iterator
from contextlib import suppress

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from crmbot_core.contracts import STREAMS
from crmbot_core.telemetry import Health, Logger, http_endpoint
from crmbot_exporter.settings import WatchSettings

_BEAT_SECONDS = 1.0


class WorkbookCollector(Collector):
    """Stats the files at each scrape. A missing workbook has no sample."""

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield modification time, in seconds since 1970, and size of each workbook that exists."""
        labels = ["mrf", "stream"]
        saved = GaugeMetricFamily(
            "crmbot_exporter_workbook_timestamp_seconds",
            "When the workbook was saved, in seconds since 1970",
            labels=labels,
        )
        size = GaugeMetricFamily("crmbot_exporter_workbook_bytes", "Size of the workbook", labels=labels)
        for stream in STREAMS:
            with suppress(FileNotFoundError):
                status = self._settings.workbook(stream).stat()
                saved.add_metric([self._settings.mrf, stream], status.st_mtime)
                size.add_metric([self._settings.mrf, stream], status.st_size)
        yield saved
        yield size


def watch(settings: WatchSettings, stop: threading.Event, log: Logger) -> None:
    """Serve the metrics until `stop` is set; ready while OUTPUT_DIR exists.

    Raises:
        ConfigurationError: if HTTP_PORT is in use.
    """
    health = Health(stale_seconds=60)
    collector = WorkbookCollector(settings)
    REGISTRY.register(collector)
    try:
        with http_endpoint(health, settings.http_port) as port:
            log.info("started", output_dir=str(settings.output_dir), http_port=port)
            while not stop.is_set():
                health.beat()
                if settings.output_dir.is_dir():
                    health.set_ready()
                else:
                    health.set_unready(f"OUTPUT_DIR {settings.output_dir} is not there")
                stop.wait(_BEAT_SECONDS)
    finally:
        REGISTRY.unregister(collector)
    log.info("stopped")
