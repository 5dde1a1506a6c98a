"""The kinds of failure that the services tell apart, and the exit code of each."""

EXIT_CRASH = 1
EXIT_CONFIGURATION = 2
EXIT_STOPPED = 3
EXIT_DIFFERENCES = 4


class CrmBotError(Exception):
    """A failure with one line for the user: what is wrong and what to do."""

    exit_code = EXIT_CRASH


class ConfigurationError(CrmBotError):
    """A setting, argument or deployment is wrong; retrying cannot help."""

    exit_code = EXIT_CONFIGURATION


class StoppedError(CrmBotError):
    """Going on would lose or double data; a person has to decide."""

    exit_code = EXIT_STOPPED


class RefusedDataError(StoppedError):
    """The warehouse does not take a value: its table or its client is stricter than the contract."""


class StuckError(CrmBotError):
    """Trying again has brought nothing for too long; a process that starts anew may get on."""


class TransientError(CrmBotError):
    """An outside system is away or busy; the same step may succeed later."""
