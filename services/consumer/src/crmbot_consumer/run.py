"""The consumer's main loop: one session after another until shutdown."""

import gc
import threading
from collections.abc import Mapping

from crmbot_consumer import metrics
from crmbot_consumer.progress import Progress
from crmbot_consumer.refused import Place, RefusedRowsError
from crmbot_consumer.session import Session
from crmbot_consumer.settings import ConsumerSettings
from crmbot_core.errors import TransientError
from crmbot_core.ledger import FencedError
from crmbot_core.telemetry import Health, Logger


class ConsumerRun:
    """Loads one topic until `stop` is set.

    The work is done in sessions. A transient failure (warehouse, broker, a fence) ends the session:
    uncommitted work is dropped, the consumer leaves the group, and the next session resumes from the ledger.
    While the warehouse is unavailable, nothing is fetched.
    """

    def __init__(
        self, settings: ConsumerSettings, kafka: Mapping[str, str], stop: threading.Event, logger: Logger
    ) -> None:
        self.health = Health(stale_seconds=120)
        self._settings = settings
        self._kafka_settings = kafka
        self._stop = stop
        self._logger = logger
        self._labels = (settings.mrf, settings.stream)
        self._progress = Progress(kafka, settings.topic, settings.stuck_minutes)
        self._refused: dict[Place, str] = {}
        self._waiting = metrics.Waiting()
        metrics.LAG_SECONDS.labels(*self._labels).set_function(self._waiting.seconds)

    def run(self) -> None:
        """Return when `stop` is set.

        Raises:
            ConfigurationError, StoppedError: a retry cannot help.
            StuckError: nothing was loaded for STUCK_MINUTES while the topic grew.
        """
        while not self._stop.is_set():
            self.health.beat()
            failure = self._session()
            # A session and its Kafka client reference each other: only this frees the messages they hold.
            gc.collect()
            if failure is not None and not self._stop.is_set():
                delay = self._progress.failed(failure)
                self._logger.warning("waiting", reason=failure, seconds=round(delay, 1))
                self._stop.wait(delay)

    def _session(self) -> str | None:
        """Load until `stop` is set or a transient failure; return the failure, if any."""
        session = Session(
            self._settings,
            self._logger,
            self.health,
            self._stop,
            self._waiting,
            self._progress,
            self._refused,
        )
        try:
            session.run(self._kafka_settings)
        except TransientError as error:
            if isinstance(error, RefusedRowsError):
                self._refused |= error.reasons
            cause = "fenced" if isinstance(error, FencedError) else "transient"
            metrics.RETRIES.labels(*self._labels, cause).inc()
            self.health.set_unready(str(error))
            return str(error)
        return None
