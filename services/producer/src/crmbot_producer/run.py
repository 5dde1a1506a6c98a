"""The producer's loop: page after page from the bot's file to Kafka."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from crmbot_core.errors import TransientError
from crmbot_core.lifecycle import Backoff
from crmbot_core.telemetry import Health, Logger
from crmbot_producer import metrics
from crmbot_producer.kafka import PageSender
from crmbot_producer.settings import ProducerSettings
from crmbot_producer.sqlite import BotFile, Identity, PageRow
from crmbot_producer.watermark import Watermark, check_file


class ProducerRun:
    """Sends new rows until `stop` is set.

    The work is done in sessions. A transient failure ends a session; the next one fences it, reads the
    watermark back and goes on from there, so that no failure needs a path of its own.
    """

    def __init__(
        self, settings: ProducerSettings, kafka: Mapping[str, str], stop: threading.Event, logger: Logger
    ) -> None:
        self.health = Health(stale_seconds=120)
        self._settings = settings
        self._kafka = kafka
        self._stop = stop
        self._logger = logger
        self._backoff = Backoff()
        self._labels = (settings.mrf, settings.stream)

    def run(self) -> None:
        """Return when `stop` is set.

        Raises:
            ConfigurationError, StoppedError: what another try cannot mend.
        """
        while not self._stop.is_set():
            try:
                self._session()
            except TransientError as error:
                metrics.RETRIES.labels(*self._labels).inc()
                self.health.set_unready(str(error))
                self.health.beat()
                self._logger.warning("waiting", reason=str(error))
                self._stop.wait(self._backoff.next())

    def _session(self) -> None:
        settings = self._settings
        with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
            identities = file.identities()
            topic = settings.contract.topic(settings.mrf)
            with closing(PageSender(self._kafka, settings.mrf, settings.stream, topic)) as sender:
                known = sender.watermarks()
                for identity in identities:
                    fresh = Watermark(identity.source_id, identity.starts_after, None)
                    watermark = known.get(identity.source_id, fresh)
                    is_present = identity is identities[-1]
                    self._logger.info(
                        "sending",
                        source_id=identity.source_id,
                        after=watermark.transaction_id,
                        present=is_present,
                    )
                    self._send(file, sender, identity, watermark, is_present=is_present)

    def _send(
        self, file: BotFile, sender: PageSender, identity: Identity, watermark: Watermark, *, is_present: bool
    ) -> None:
        """Send the identity's rows after the watermark, and wait for more if it is the file's present one.

        A second thread reads the next page while Kafka commits this one.
        """
        limit = self._settings.page_rows

        def read(after: Watermark) -> tuple[list[PageRow], int]:
            if is_present:
                check_file(after, file.event_id(after.transaction_id), file.path)
            rows = file.page(identity, after.transaction_id, limit)
            return rows, file.newest_id() if len(rows) == limit else 0

        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            page = reader.submit(read, watermark)
            while not self._stop.is_set():
                self.health.beat()
                rows, newest = page.result()
                if rows:
                    page = reader.submit(read, sender.watermark_of(rows, identity.source_id))
                    watermark = self._send_page(sender, rows, identity)
                elif not is_present:
                    return
                self.health.set_ready()
                self._backoff.reset()
                metrics.BACKLOG_ROWS.labels(*self._labels).set(max(0, newest - watermark.transaction_id))
                if len(rows) < limit:
                    page.result()
                    self._stop.wait(self._settings.poll_seconds)
                    page = reader.submit(read, watermark)

    def _send_page(self, sender: PageSender, rows: list[PageRow], identity: Identity) -> Watermark:
        started = time.monotonic()
        watermark = sender.send(rows, identity.source_id)
        metrics.TRANSACTION_SECONDS.labels(*self._labels).observe(time.monotonic() - started)
        metrics.ROWS_SENT.labels(*self._labels).inc(len(rows))
        metrics.LAST_ID.labels(*self._labels).set(watermark.transaction_id)
        return watermark
