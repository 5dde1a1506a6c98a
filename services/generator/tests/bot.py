"""A bot's files in tests: made by the command line, read by SQLite."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from crmbot_generator.cli import cli


def run(folder: Path, *arguments: object, mrf: str = "mrf5", **environment: str) -> Result:
    """Run a command with its settings; what it raises is in the result."""
    settings = {
        "MRF": mrf,
        "DATA_DIR": str(folder),
        "HTTP_PORT": "0",
        "SEED": None,
        "PROFILE": None,
        "PARAMETERS": None,
        "MANAGERS": None,
        **environment,
    }
    return CliRunner(env=settings).invoke(cli, [str(argument) for argument in arguments])


def done(folder: Path, *arguments: object, mrf: str = "mrf5", **environment: str) -> str:
    """Run a command that has to succeed, and return its output."""
    result = run(folder, *arguments, mrf=mrf, **environment)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def rows_of(folder: Path, stream: str) -> list[dict[str, Any]]:
    """Return a file's rows in the order of commits."""
    return select(folder, stream, f"SELECT * FROM {stream} ORDER BY transaction_id")


def select(folder: Path, stream: str, query: str) -> list[dict[str, Any]]:
    """Return the result of a query in one of the files."""
    with closing(sqlite3.connect(folder / f"{stream}.db")) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda text: text.decode(errors="surrogateescape")
        return [dict(row) for row in connection.execute(query)]
