"""Error classes of the services and their exit codes."""

EXIT_CRASH = 1
EXIT_CONFIGURATION = 2
EXIT_STOPPED = 3
EXIT_DIFFERENCES = 4


class CrmBotError(Exception):
    """A failure reported to the user in one line: what is wrong and what to do."""

    exit_code = EXIT_CRASH


class ConfigurationError(CrmBotError):
    """A setting, argument or deployment is wrong; retrying cannot help."""

    exit_code = EXIT_CONFIGURATION


class StoppedError(CrmBotError):
    """Continuing would lose or duplicate data; needs an operator."""

    exit_code = EXIT_STOPPED


class RefusedDataError(StoppedError):
    """The warehouse rejects a value: its table or client is stricter than the contract."""


class StuckError(CrmBotError):
    """Retries have made no progress for too long; a restart may help."""


class TransientError(CrmBotError):
    """An external system is unavailable or busy; a retry may succeed."""
