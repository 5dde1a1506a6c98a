"""The producer's loop: page after page from the bot's file to Kafka."""

import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from crmbot_core.errors import TransientError
from crmbot_core.lifecycle import Backoff
from crmbot_core.stuck import StuckDetector
from crmbot_core.telemetry import Health, Logger
from crmbot_producer import metrics
from crmbot_producer.kafka import PageSender
from crmbot_producer.partitions import check_topic, partitions_in_use, sent_watermarks
from crmbot_producer.settings import ProducerSettings
from crmbot_producer.sqlite import BotFile, Identity, Page
from crmbot_producer.watermark import Watermark, check_file

# The reader's thread makes a page while this one hands over the page before it: with Python's 5 ms it would
# wait that long each time it needs the interpreter.
_SWITCH_SECONDS = 0.0005


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
        self._stuck = StuckDetector(settings.stuck_minutes)
        self._labels = (settings.mrf, settings.stream)

    def run(self) -> None:
        """Return when `stop` is set.

        Raises:
            ConfigurationError, StoppedError: what another try cannot mend.
            StuckError: nothing was sent for STUCK_MINUTES, while the file grew.
        """
        sys.setswitchinterval(_SWITCH_SECONDS)
        while not self._stop.is_set():
            try:
                self._session()
            except TransientError as error:
                metrics.RETRIES.labels(*self._labels).inc()
                self.health.set_unready(str(error))
                self.health.beat()
                self._look(str(error))
                self._logger.warning("waiting", reason=str(error))
                self._stop.wait(self._backoff.next())

    def _look(self, reason: str) -> None:
        """Raise StuckError if nothing was sent for long while the file grows."""
        settings = self._settings
        try:
            with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
                newest = file.newest_id()
        except TransientError:
            self._stuck.progressed()  # whether more waits is not known
        else:
            self._stuck.look(newest, reason)

    def _session(self) -> None:
        settings = self._settings
        with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
            identities = file.identities()
            with closing(PageSender(self._kafka, settings.mrf, settings.stream, settings.topic)) as sender:
                known = sender.watermarks()
                self._spread(
                    sender, partitions_in_use(sent_watermarks(identities, known), sender.topic_partitions)
                )
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

    def _spread(self, sender: PageSender, partitions: int) -> None:
        """Let the sender use as many partitions as its predecessors did."""
        topic, stream, found = self._settings.topic, self._settings.stream, sender.topic_partitions
        check_topic(topic, stream, partitions, found)
        if found > partitions:
            self._logger.warning(
                "partitions without rows",
                reason=f"{topic} has {found} partitions, and rows stay in the first {partitions}, in order; "
                f"to use all: crmbot-producer repartition --stream {stream}",
            )
        sender.partitions = partitions

    def _send(
        self, file: BotFile, sender: PageSender, identity: Identity, watermark: Watermark, *, is_present: bool
    ) -> None:
        """Send the identity's rows after the watermark, and wait for more if it is the file's present one.

        A second thread reads the next page while Kafka commits this one.
        """
        limit = self._settings.page_rows

        def read(after: Watermark) -> tuple[Page | None, int]:
            page = file.page(identity, after.transaction_id, limit)
            if is_present:
                # After the page was read: a file that was replaced before that is noticed before it is sent.
                check_file(after, file.event_id(after.transaction_id), file.path)
            is_full = page is not None and len(page.keys) == limit
            return page, file.newest_id() if is_full else 0

        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            coming = reader.submit(read, watermark)
            while not self._stop.is_set():
                self.health.beat()
                page, newest = coming.result()
                if page is not None:
                    coming = reader.submit(read, page.watermark)
                    self._send_page(sender, page)
                    watermark = page.watermark
                elif not is_present:
                    return
                self.health.set_ready()
                self._backoff.reset()
                self._stuck.progressed()
                metrics.BACKLOG_ROWS.labels(*self._labels).set(max(0, newest - watermark.transaction_id))
                if page is None or len(page.keys) < limit:
                    coming.result()
                    self._stop.wait(self._settings.poll_seconds)
                    coming = reader.submit(read, watermark)

    def _send_page(self, sender: PageSender, page: Page) -> None:
        started = time.monotonic()
        sender.send(page)
        metrics.TRANSACTION_SECONDS.labels(*self._labels).observe(time.monotonic() - started)
        metrics.ROWS_SENT.labels(*self._labels).inc(len(page.keys))
        metrics.LAST_ID.labels(*self._labels).set(page.watermark.transaction_id)
