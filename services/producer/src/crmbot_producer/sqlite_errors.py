"""Converts SQLite's errors for readers of the bot's file."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crmbot_core.errors import ConfigurationError, StoppedError, TransientError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert SQLite's errors to those of `BotFile`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_ERROR and "no such table" in str(error):
            raise TransientError(
                f"{path} is half made: {error} (yet); if it is your own bot's: crmbot-producer adopt"
            ) from error
        if code == sqlite3.SQLITE_ERROR:
            raise ConfigurationError(f"{path} does not fit the contract: {error}") from error
        raise TransientError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoppedError(
            f"{path} is damaged: {error}; restore it from a backup, then start the producer again"
        ) from error
