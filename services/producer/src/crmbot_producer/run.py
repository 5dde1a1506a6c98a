"""The producer's main loop: sends the bot's file to Kafka page by page."""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing

from crmbot_core.errors import StoppedError, TransientError
from crmbot_core.lifecycle import Backoff
from crmbot_core.stuck import StuckDetector
from crmbot_core.telemetry import Health, Logger
from crmbot_producer import metrics
from crmbot_producer.chain import ChainedPage, chained
from crmbot_producer.kafka import PageSender
from crmbot_producer.partitions import check_topic, partitions_in_use, sent_offsets
from crmbot_producer.reader import PageReader, checked_identities
from crmbot_producer.settings import ProducerSettings
from crmbot_producer.source_offset import SourceOffset, nothing_sent
from crmbot_producer.sqlite import BotFile, Identity
from crmbot_producer.tail import check_records, newest_in_kafka

# The reader's thread builds the next page while this one produces the current page: with Python's default of
# 5 ms it would wait that long each time it needs the interpreter.
_SWITCH_SECONDS = 0.0005


class ProducerRun:
    """Sends new rows until `stop` is set.

    The work is done in sessions. A transient failure ends a session; the next one fences it, reads the source
    offsets back and resumes from them, so no failure needs its own recovery path.
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
            ConfigurationError, StoppedError: a retry cannot help.
            StuckError: nothing was sent for STUCK_MINUTES while the file grew.
        """
        sys.setswitchinterval(_SWITCH_SECONDS)
        while not self._stop.is_set():
            try:
                self._session()
            except TransientError as error:
                metrics.RETRIES.labels(*self._labels).inc()
                self.health.set_unready(str(error))
                self.health.beat()
                self._check_stuck(str(error))
                self._logger.warning("waiting", reason=str(error))
                self._stop.wait(self._backoff.next())

    def _check_stuck(self, reason: str) -> None:
        """Raise StuckError if nothing was sent for STUCK_MINUTES while the file grew."""
        settings = self._settings
        try:
            with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
                newest = file.newest_id()
        except TransientError:
            self._stuck.progressed()  # the backlog is unknown
        else:
            self._stuck.check(newest, reason)

    def _session(self) -> None:
        settings = self._settings
        with closing(BotFile(settings.database, settings.contract, settings.mrf)) as file:
            # Rejects another bot's file before the predecessor is fenced.
            sources = {identity.source_id for identity in file.identities()}
            with closing(PageSender(self._kafka, settings.mrf, settings.stream, settings.topic)) as sender:
                newest = newest_in_kafka(self._kafka, settings.topic, sender.topic_partitions, file)
                known = sender.offsets(sources)
                identities = checked_identities(file, settings.stream, known)
                if known:
                    check_records(settings.topic, settings.stream, newest, known)
                else:
                    self._commit_first_records(sender, identities)
                partitions = self._partitions(sender, sent_offsets(identities, known))
                for identity in identities:
                    reader = PageReader(
                        file,
                        settings.stream,
                        identities,
                        identity,
                        page_rows=settings.page_rows,
                        max_row_bytes=sender.max_row_bytes,
                    )
                    offset = known.get(identity.source_id, nothing_sent(identity))
                    is_present = identity is identities[-1]
                    self._logger.info(
                        "sending",
                        source_id=identity.source_id,
                        after=offset.transaction_id,
                        present=is_present,
                    )
                    self._send(sender, reader, offset, partitions, is_present=is_present)

    def _commit_first_records(self, sender: PageSender, identities: Sequence[Identity]) -> None:
        """Commit the first records of an MRF and stream: from then on, missing records were lost.

        Raises:
            StoppedError: the topic is not empty, so earlier records were lost.
        """
        if not sender.is_topic_unused():
            raise StoppedError(
                f"{self._settings.topic} is not empty, but Kafka has no record of what was sent: the state "
                "was lost. Rebuild it from the warehouse: "
                f"crmbot-producer resend --stream {self._settings.stream}"
            )
        sender.commit_offsets(map(nothing_sent, identities))

    def _partitions(self, sender: PageSender, sent: Sequence[SourceOffset]) -> int:
        """Return the number of partitions in use, which partitions added to the topic do not change."""
        topic, stream, found = self._settings.topic, self._settings.stream, sender.topic_partitions
        partitions = partitions_in_use(sent, found)
        check_topic(topic, partitions, found)
        if found > partitions:
            self._logger.warning(
                "partitions without rows",
                reason=f"{topic} has {found} partitions, and rows stay in the first {partitions}, in order; "
                f"to use all: crmbot-producer repartition --stream {stream}",
            )
        return partitions

    def _send(
        self,
        sender: PageSender,
        reader: PageReader,
        offset: SourceOffset,
        partitions: int,
        *,
        is_present: bool,
    ) -> None:
        """Send an identity's rows, and keep polling for more if it is the file's present one."""
        with closing(reader.polls(offset, self._pause)) as polls:
            for poll in polls:
                if self._stop.is_set():
                    return
                self.health.beat()
                if poll.page is not None:
                    offset = self._send_page(sender, chained(poll.page, offset, partitions))
                if not is_present and not poll.has_more:
                    return
                self.health.set_ready()
                self._backoff.reset()
                self._stuck.progressed()
                metrics.LAST_ID.labels(*self._labels).set(offset.transaction_id)
                metrics.BACKLOG_ROWS.labels(*self._labels).set(poll.newest_id - offset.transaction_id)

    def _pause(self) -> None:
        self._stop.wait(self._settings.poll_seconds)

    def _send_page(self, sender: PageSender, page: ChainedPage) -> SourceOffset:
        """Commit a page and return its source offset."""
        started = time.monotonic()
        sender.send(page)
        metrics.TRANSACTION_SECONDS.labels(*self._labels).observe(time.monotonic() - started)
        metrics.ROWS_SENT.labels(*self._labels).inc(len(page.partitions))
        for transaction_id, reason in page.page.not_carried.items():
            metrics.ROWS_NOT_CARRIED.labels(*self._labels).inc()
            self._logger.warning(
                "row not carried",
                source_id=page.offset.source_id,
                transaction_id=transaction_id,
                reason=f"{reason}: it becomes a dead letter",
            )
        return page.offset
