"""Logs and the HTTP port of a service: /metrics, /healthz, /readyz."""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import make_wsgi_app
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from crmbot_core.errors import ConfigurationError
from crmbot_core.settings import LogSettings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Logger = structlog.stdlib.BoundLogger


def configure_logging(settings: LogSettings, service: str) -> Logger:
    """Set up logging to stderr with levels and UTC times, and return the service's logger."""
    is_console = settings.log_format == "console"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_console() if is_console else _json()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logger: Logger = structlog.get_logger().bind(service=service)
    return logger


def _json() -> list[Processor]:
    # Without local variables: they may hold passwords and personal data.
    tracebacks = ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _console() -> list[Processor]:
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


class Health:
    """Liveness (the main loop is running) and readiness (the service can do its work).

    The loop calls `beat` on every iteration; without a beat for `stale_seconds` it counts as stuck.
    """

    def __init__(self, stale_seconds: float) -> None:
        self._stale_seconds = stale_seconds
        self._last_beat = time.monotonic()
        self.ready = False
        self.reason = "starting"

    def beat(self) -> None:
        """Record an iteration of the main loop."""
        self._last_beat = time.monotonic()

    def set_ready(self) -> None:
        """Make /readyz answer 200."""
        self.ready, self.reason = True, "ok"

    def set_unready(self, reason: str) -> None:
        """Make /readyz answer 503 with the reason."""
        self.ready, self.reason = False, reason

    @property
    def alive(self) -> bool:
        """Whether the last beat is less than `stale_seconds` old."""
        return time.monotonic() - self._last_beat < self._stale_seconds


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401  (the base class's signature)
        """Log nothing: probes and scrapes would flood the log."""


@contextmanager
def http_endpoint(health: Health, port: int) -> Iterator[int]:
    """Serve /metrics, /healthz and /readyz from a thread and yield the port.

    Raises:
        ConfigurationError: the port cannot be opened.
    """
    metrics_app = make_wsgi_app()

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            body: Iterable[bytes] = metrics_app(environ, start_response)
            return body
        known = {
            "/healthz": (health.alive, "ok" if health.alive else "the main loop is stuck"),
            "/readyz": (health.ready, health.reason),
        }
        is_fine, text = known.get(path, (False, "try /metrics, /healthz or /readyz"))
        failure = HTTPStatus.SERVICE_UNAVAILABLE if path in known else HTTPStatus.NOT_FOUND
        status = HTTPStatus.OK if is_fine else failure
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    try:
        # Probes and Prometheus come from outside the pod.
        address = "0.0.0.0"  # noqa: S104
        server = make_server(address, port, app, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise ConfigurationError(f"HTTP_PORT {port} cannot be opened: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
