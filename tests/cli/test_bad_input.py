"""Bad input to every command and every setting: one line that names it, exit code 2, nothing written.

Most cases are derived from the settings classes and the command lines, so that new settings and options are
covered; the tables below add the others. For a wrong option, click prints the usage before the line. Input
that only a broker or a warehouse can refuse is tested in tests/integration.
"""

import os
import runpy
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import click
import pytest
import structlog
from pydantic_settings import BaseSettings

from crmbot_core.contracts import STREAMS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
_GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
READS: Mapping[str, Any] = _GENERATE["READS"]
COMMANDS: dict[str, click.Command] = {
    name: command for name, command in _GENERATE["commands"]() if not isinstance(command, click.Group)
}

SECRET = "hunter2"
NOT_UTF8 = os.fsdecode(b"\xff")
# Valid settings, although no server listens there.
ENVIRONMENT = {
    "MRF": "mrf1",
    "STREAM": "actions",
    "HTTP_PORT": "0",
    "DATA_DIR": "data",
    "OUTPUT_DIR": "output",
    "SQL_DIR": str(ROOT / "sql"),
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "WAREHOUSE_DSN": "host=127.0.0.1 port=1",
}
SOURCE = "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"
# Required arguments of commands.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "crmbot-consumer accept-loss": ("--partition", "0"),
    "crmbot-consumer reject-source": ("--source-id", "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"),
    "crmbot-consumer accept-source": ("--source-id", "5f1c9a4e-0b57-4d4e-9d0c-6d6f3f0f2a11"),
    "crmbot-consumer rejects show": ("0", "0"),
    "crmbot-consumer rejects replay": ("0", "0"),
    "crmbot-exporter plan": ("--file", "plan.csv"),
    "crmbot-generator load": ("--rate", "1"),
}


class Case(NamedTuple):
    """A command with bad input, and a part of the line that it prints."""

    command: str
    arguments: Sequence[str]
    environment: Mapping[str, str | None]
    message: str
    prepare: Callable[[Path], object] = lambda folder: None

    @property
    def name(self) -> str:
        wrong = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([self.command, *self.arguments, *wrong]).encode("unicode_escape").decode()[:100]


class Result(NamedTuple):
    code: object
    out: str
    err: str


# Settings, from their classes

# Values for settings whose schema has no bounds or pattern.
WRONG_VALUES = {
    "TIMEZONE": ["Moscow", "Europe", "/etc/localtime"],
    "WAREHOUSE_DSN": ["warehouse", "port=http"],
}


def wrong_values(settings: type[BaseSettings], name: str) -> list[str]:
    """Return invalid values of a setting, one per bound, pattern and type."""
    schema = settings.model_json_schema()["properties"][name]
    kind: dict[str, Any] = next((k for k in schema.get("anyOf", []) if k["type"] != "null"), schema)
    found = list(WRONG_VALUES.get(name.upper(), []))
    if kind["type"] in ("integer", "number"):
        found += ["many", "nan"]
        beyond = {"minimum": -1, "exclusiveMinimum": 0, "maximum": 1, "exclusiveMaximum": 0}
        found += [str(kind[bound] + step) for bound, step in beyond.items() if bound in kind]
    if "pattern" in kind or "enum" in kind:
        found += ["nonsense", f"{schema.get('default', 'mrf1')}\n", NOT_UTF8]
    if "maxLength" in kind:
        found += ["x" * (kind["maxLength"] + 1), NOT_UTF8]
    formats = {
        "date": ["yesterday", "31.03.2026", "2026-02-30", "1", "1999-12-31"],
        "path": ["two\nlines", NOT_UTF8],
        "password": [NOT_UTF8],
    }
    return found + formats.get(kind.get("format", ""), [])


def settings_cases() -> Iterator[Case]:
    for command, reads in READS.items():
        for name, field in reads.settings.model_fields.items() if reads.settings else ():
            variable = name.upper()
            values: list[str | None] = [*wrong_values(reads.settings, name)]
            assert values, f"{command}: add invalid values of {variable} to WRONG_VALUES"
            for value in [None, "", *values] if field.is_required() else values:
                yield Case(command, ARGUMENTS.get(command, ()), {variable: value}, f"{variable}: ")


KAFKA: list[tuple[dict[str, str | None], str]] = [
    *(
        ({"KAFKA_BOOTSTRAP_SERVERS": value}, "KAFKA_BOOTSTRAP_SERVERS: ")
        for value in (
            None,
            "",
            " ",
            ",",
            "a,,b",
            "::",
            "host:port",
            "host:99999",
            "http://host:1",
            "a\nb",
            NOT_UTF8,
        )
    ),
    ({"KAFKA_ACKS": "1"}, "KAFKA_ACKS must be all"),
    ({"KAFKA_ISOLATION_LEVEL": "read_uncommitted"}, "KAFKA_ISOLATION_LEVEL must be read_committed"),
    ({"KAFKA_ENABLE_IDEMPOTENCE": "false"}, "KAFKA_ENABLE_IDEMPOTENCE must be True"),
    ({"KAFKA_ENABLE_AUTO_COMMIT": "true"}, "KAFKA_ENABLE_AUTO_COMMIT must be False"),
    ({"KAFKA_NONSENSE": "1"}, "KAFKA_NONSENSE: Kafka knows no such setting"),
    ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL"),
    ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/none"}, "KAFKA_SSL_CA_LOCATION"),
    ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "X"}, "Unsupported SASL mechanism"),
    ({"KAFKA_SOCKET_TIMEOUT_MS": "soon"}, "KAFKA_SOCKET_TIMEOUT_MS"),
    ({"KAFKA_SOCKET_TIMEOUT_MS": "-1"}, "KAFKA_SOCKET_TIMEOUT_MS"),
    ({"KAFKA_SASL_PASSWORD": f"{SECRET}{NOT_UTF8}"}, "KAFKA_SASL_PASSWORD: not UTF-8"),
]


def kafka_cases() -> Iterator[Case]:
    for command, reads in READS.items():
        for environment, message in KAFKA if reads.kafka else ():
            yield Case(command, ARGUMENTS.get(command, ()), environment, message)


# Options and arguments, from the command lines

# Texts: the tables have their invalid values, or those of the setting that they set.
TEXTS = {"key", "mrfs", "mrf", "output_dir", "report_day", "data_rows", "run_id"}


def wrong_options(parameter: click.Parameter) -> list[str]:
    kind = parameter.type
    if isinstance(kind, click.IntRange | click.FloatRange):
        values = ["many", "nan", "1e999", "9" * 30]
        return values + (
            [f"{kind.min - 1}"] if isinstance(parameter, click.Option) and kind.min is not None else []
        )
    if isinstance(kind, click.Choice):
        return ["nonsense", ""]
    if isinstance(kind, click.Path):
        return ["absent", "output", "x" * 5000]
    if isinstance(kind, click.DateTime):
        return ["yesterday", "0001-01-01", "9999-12-31"]
    return ["many"] if kind in (click.INT, click.UUID) else []


def option_cases() -> Iterator[Case]:
    for name, command in COMMANDS.items():
        given = ARGUMENTS.get(name, ())
        yield Case(name, [*given, "--nonsense"], {}, "No such option '--nonsense'")
        yield Case(
            name, [*given, "a", "b", "c"], {}, "" if name.endswith("replay") else "unexpected extra argument"
        )
        for parameter in command.params:
            is_option = isinstance(parameter, click.Option)
            if isinstance(parameter, click.Option) and parameter.is_flag:
                continue
            label = parameter.opts[0] if is_option else str(parameter.name).upper()
            values = wrong_options(parameter)
            assert values or parameter.name in TEXTS, f"{name}: add invalid values of {label}"
            if parameter.required:
                yield Case(name, given[: 0 if is_option else int(parameter.name == "offset")], {}, label)
            for value in values:
                message = value[:9] if isinstance(parameter.type, click.Path) else label
                if is_option:
                    yield Case(name, [*given, label, value], {}, message)
                else:
                    yield Case(
                        name, ["0", value] if parameter.name == "offset" else [value, "0"], {}, message
                    )


# Files, folders and their contents


def bot(folder: Path, mrf: str = "mrf1") -> None:
    """Create minimal bot's files that the services accept."""
    data = folder / "data"
    for name, stream in STREAMS.items():
        with sqlite3.connect(data / f"{name}.db") as connection:
            connection.executescript(stream.sqlite_ddl)
            connection.execute("INSERT INTO source VALUES (?, ?, ?, 1, 0, NULL)", (SOURCE, name, mrf))


def swapped_bot(folder: Path) -> None:
    bot(folder)
    actions, nature = folder / "data/actions.db", folder / "data/nature.db"
    actions.rename(folder / "data/x")
    nature.rename(actions)
    (folder / "data/x").rename(nature)


def file(name: str, content: bytes = b"text\n" * 2000) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        path = folder / name
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)

    return make


def missing(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).rmdir()


LONG = "x" * 5000
FILES = [
    *(
        Case(name := f"crmbot-generator {command}", ARGUMENTS.get(name, ()), environment, message, prepare)
        for command in ("backfill", "live", "load")
        for environment, message, prepare in (
            ({}, "DATA_DIR data", file("data")),
            ({"DATA_DIR": LONG}, "DATA_DIR xxx", lambda folder: None),
            ({"DATA_DIR": "/proc/none"}, "DATA_DIR /proc/none", lambda folder: None),
            ({}, "DATA_DIR data", lambda folder: (folder / "data/actions.db").mkdir()),
            ({}, "actions.db belongs to mrf7 (actions), not to mrf1", lambda folder: bot(folder, "mrf7")),
            ({}, "actions.db belongs to mrf1 (nature), not to mrf1 (actions)", swapped_bot),
        )
    ),
    *(
        Case(f"crmbot-producer {command}", [], {}, message, prepare)
        for command in ("adopt", "run", "resend", "new-source", "audit")
        for message, prepare in (
            ("check MRF, STREAM and DATA_DIR", lambda folder: bot(folder, "mrf7")),
            ("check MRF, STREAM and DATA_DIR", swapped_bot),
            ("check DATA_DIR", lambda folder: [(folder / f"data/{name}.db").mkdir() for name in STREAMS]),
        )
    ),
    *(
        Case(f"crmbot-producer {command}", [], environment, "check DATA_DIR", prepare)
        for command in ("adopt", "run", "resend", "new-source")
        for environment, prepare in (({}, file("data")), ({"DATA_DIR": LONG}, lambda folder: None))
    ),
    Case("crmbot-producer adopt", [], {}, "actions.db does not exist (yet): check DATA_DIR"),
    Case(
        "crmbot-producer adopt", [], {"DATA_DIR": "none"}, "actions.db does not exist (yet): check DATA_DIR"
    ),
    Case("crmbot-producer audit", [], {}, "DATA_DIR data has no actions.db"),
    Case("crmbot-producer audit", [], {}, "DATA_DIR data", missing("data")),
    Case("crmbot-producer audit", [], {}, "DATA_DIR data", file("data")),
    Case("crmbot-producer audit", [], {"DATA_DIR": LONG}, "DATA_DIR xxx"),
    Case("crmbot-consumer migrate", [], {"SQL_DIR": "none"}, "SQL_DIR"),
    Case("crmbot-consumer maintain", [], {"FOLD_DAYS": "0"}, "FOLD_DAYS"),
    Case("crmbot-consumer migrate", [], {"SQL_DIR": "data"}, "SQL_DIR"),
    *(
        Case(
            "crmbot-exporter " + command[0],
            command[1:],
            {"OUTPUT_DIR": output},
            "check OUTPUT_DIR",
            file("text"),
        )
        for command in (
            ["export"],
            ["data"],
            ["export-russia"],
            ["publish", "--run-id", "r"],
            ["export", "--run-id", "r"],
        )
        for output in ("none", "text", LONG)
    ),
    Case("crmbot-exporter publish", [], {}, "RUN_ID: not set"),
    Case("crmbot-exporter publish", ["--run-id", "r"], {}, "run `crmbot-exporter export` first"),
    *(
        Case("crmbot-exporter export-russia", ["--mrfs", mrfs], {}, message)
        for mrfs, message in (
            ("", "no MRF ''"),
            ("mrf1,", "no MRF ''"),
            ("mrf1, mrf2", "no MRF ' mrf2'"),
            ("mrf1\n", "no MRF"),
            ("mrf0", "no MRF 'mrf0'"),
            ("mrf1,mrf2,mrf1", "mrf1 twice"),
        )
    ),
]

PLAN_HEAD = "month,branch,service,tariff,units,monthly_revenue\n"
PLAN_LINE = "2026-03-01,Филиал,Интернет,Домашний,120,66000.50\n"
PLANS = {
    "has no lines": [PLAN_HEAD],
    "not CSV in UTF-8": [PLAN_HEAD + "2026-03-01," + "x" * 200_000],
    "line 2, month": [
        PLAN_HEAD + PLAN_LINE.replace("2026-03-01", month)
        for month in ("", "2026-03-02", "01.03.2026", "1772323200", "0001-01-01", "март")
    ],
    "line 2, units": [
        PLAN_HEAD + PLAN_LINE.replace("120", units) for units in ("", "-1", "1.5", "9" * 12, "много")
    ],
    "line 2, monthly_revenue": [
        PLAN_HEAD + PLAN_LINE.replace("66000.50", money)
        for money in ("", "nan", "inf", "1e999", "-1", "много")
    ],
    "line 2, branch": [PLAN_HEAD + PLAN_LINE.replace("Филиал", name) for name in ("", "a\0b", "x" * 201)],
    "tariff should be there once": [PLAN_HEAD.replace("tariff", "branch")],
    "expected the columns": [
        "",
        (PLAN_HEAD + PLAN_LINE).replace(",", ";"),
        PLAN_HEAD.replace("tariff", "branch") + PLAN_LINE,
    ],
}


def plan_cases() -> Iterator[Case]:
    texts = [(message, text.encode()) for message, texts in PLANS.items() for text in texts]
    texts += [("not CSV in UTF-8", (PLAN_HEAD + PLAN_LINE).encode(code)) for code in ("cp1251", "utf-16")]
    for message, text in texts:
        yield Case("crmbot-exporter plan", ["--file", "plan.csv"], {}, message, file("plan.csv", text))


# Malformed connection strings whose password must not be printed.
CONNECTION_STRINGS = (
    f"postgresql://bot:{SECRET}@[host/warehouse",
    f"postgresql://bot:{SECRET}%zz@host/warehouse",
    f"postgresql://bot:{SECRET}@host/warehouse?nonsense=1",
    f"postgresql://bot:{SECRET}@host:99999/warehouse",
    f"postgres//bot:{SECRET}@host/warehouse",
    f"host=host password=two {SECRET}",
    f"host=host password='{SECRET}",
    f"host=host password={SECRET} nonsense=1",
    f"host=host password={SECRET}{NOT_UTF8}",
    SECRET,
)


def connection_cases() -> Iterator[Case]:
    for command, reads in READS.items():
        if reads.settings and "warehouse_dsn" in reads.settings.model_fields:
            for dsn in CONNECTION_STRINGS:
                yield Case(command, ARGUMENTS.get(command, ()), {"WAREHOUSE_DSN": dsn}, "WAREHOUSE_DSN: ")


CASES = [*settings_cases(), *kafka_cases(), *option_cases(), *FILES, *plan_cases(), *connection_cases()]


# Running a case


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with empty folders for DATA_DIR and OUTPUT_DIR and an empty file."""
    (tmp_path / "bot.db").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "output").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment(case: Case) -> dict[str, str]:
    changed = {**ENVIRONMENT, **case.environment}
    return {name: value for name, value in changed.items() if value is not None}


def in_process(case: Case, capsys: pytest.CaptureFixture[str]) -> Result:
    """Run `main` of the console script, and undo its effects on this process."""
    program, *subcommands = case.command.split()
    module = import_module(f"{program.replace('-', '_')}.cli")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with (
            mock.patch.dict(os.environ, environment(case), clear=True),
            mock.patch.object(sys, "argv", [program, *subcommands, *case.arguments]),
            pytest.raises(SystemExit) as end,
        ):
            module.main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        structlog.reset_defaults()
    return Result(end.value.code, *capsys.readouterr())


def content(folder: Path) -> dict[str, bytes | None]:
    """Return the files in a folder with their contents, except for SQLite's -shm and -wal files."""
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(("-shm", "-wal"))
    }


def check(case: Case, result: Result) -> None:
    """Check that it exited with 2 and printed one line, which has the case's message and no secret."""
    lines = [line for line in result.err.splitlines() if '"level": "info"' not in line]
    program = case.command.split()[0]
    if lines[0].startswith("Usage: "):
        _, hint, empty, line = lines
        assert hint == f"Try '{case.command} --help' for help."
        assert not empty
        assert line.startswith("Error: ")
    else:
        (line,) = lines
        assert line.startswith(f"{program}: ")
    assert case.message in line
    assert SECRET not in result.err
    assert (result.code, result.out) == (2, "")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_prints_one_line_exits_with_2_and_writes_nothing(
    case: Case, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.prepare(folder)
    before = content(folder)
    check(case, in_process(case, capsys))
    assert content(folder) == before


@pytest.mark.timeout(30)
@pytest.mark.parametrize("command", [name for name, reads in READS.items() if reads.http])
def test_a_port_in_use(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ARGUMENTS.get(command, ())
        case = Case(command, arguments, {"HTTP_PORT": port}, f"HTTP_PORT {port} cannot be opened")
        before = content(folder)
        check(case, in_process(case, capsys))
    assert content(folder) == before


@pytest.mark.parametrize("command", READS)
def test_as_a_process(command: str, folder: Path) -> None:
    wrong = {"LOG_LEVEL": "LOUD"} if READS[command].settings else {}
    text = "LOG_LEVEL: " if wrong else "bot.db is not a bot's file"
    case = Case(command, ARGUMENTS.get(command, ()), wrong, text)
    program, *subcommands = command.split()
    before = content(folder)
    done = subprocess.run(
        [BIN / program, *subcommands, *case.arguments],
        env=environment(case),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    check(case, Result(done.returncode, done.stdout, done.stderr))
    assert content(folder) == before
