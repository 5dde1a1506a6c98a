"""Writes what the code decides of the docs, and `.env.example`: `uv run python docs/generate.py`.

The JSON Schemas come from the contract's models, the settings from the services' settings classes, the
commands from their command lines. Pages that are written by hand have parts that are not: what stands between
`<!-- generated: … -->` and `<!-- end -->` is replaced.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import click
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from crmbot_consumer import settings as consumer
from crmbot_core import psql
from crmbot_core.contracts import STREAMS, Transaction
from crmbot_core.contracts.models import MRF_PATTERN, ROUBLES_PATTERN, TIMESTAMP_PATTERN, UUID_PATTERN
from crmbot_core.settings import ServiceSettings, WarehouseSettings
from crmbot_exporter.settings import ExporterSettings, PlanSettings, RussiaSettings, WatchSettings
from crmbot_generator.settings import GeneratorSettings
from crmbot_producer import settings as producer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HELP_WIDTH = 88


class Reads(NamedTuple):
    """What a command reads from the environment. `http` says whether it opens HTTP_PORT."""

    settings: type[BaseSettings] | None
    kafka: bool = False
    http: bool = False


READS = {
    "crmbot-generator backfill": Reads(GeneratorSettings),
    "crmbot-generator live": Reads(GeneratorSettings, http=True),
    "crmbot-generator load": Reads(GeneratorSettings, http=True),
    "crmbot-generator describe": Reads(GeneratorSettings),
    "crmbot-generator sample": Reads(GeneratorSettings),
    "crmbot-producer run": Reads(producer.ProducerSettings, kafka=True, http=True),
    "crmbot-producer topics": Reads(producer.TopicSettings, kafka=True),
    "crmbot-producer adopt": Reads(producer.FileSettings),
    "crmbot-producer repartition": Reads(producer.RecoverySettings, kafka=True),
    "crmbot-producer resend": Reads(producer.RecoverySettings, kafka=True),
    "crmbot-producer new-source": Reads(producer.RecoverySettings, kafka=True),
    "crmbot-producer audit": Reads(producer.AuditSettings),
    "crmbot-consumer run": Reads(consumer.ConsumerSettings, kafka=True, http=True),
    "crmbot-consumer migrate": Reads(consumer.MigrateSettings),
    "crmbot-consumer maintain": Reads(consumer.MaintainSettings),
    "crmbot-consumer accept-loss": Reads(consumer.TopicSettings, kafka=True),
    "crmbot-consumer adopt-topic": Reads(consumer.TopicSettings, kafka=True),
    "crmbot-consumer reject-source": Reads(consumer.TopicSettings),
    "crmbot-consumer accept-source": Reads(consumer.TopicSettings),
    "crmbot-consumer rejects list": Reads(consumer.TopicSettings),
    "crmbot-consumer rejects show": Reads(consumer.TopicSettings),
    "crmbot-consumer rejects replay": Reads(consumer.TopicSettings),
    "crmbot-exporter export": Reads(ExporterSettings),
    "crmbot-exporter marts": Reads(ExporterSettings),
    "crmbot-exporter publish": Reads(ExporterSettings),
    "crmbot-exporter data": Reads(ExporterSettings),
    "crmbot-exporter plan": Reads(PlanSettings),
    "crmbot-exporter export-russia": Reads(RussiaSettings),
    "crmbot-exporter watch": Reads(WatchSettings, http=True),
}


class Variable(NamedTuple):
    """An environment variable; `value` is its default or, where it has none of ours, an example."""

    name: str
    value: str
    meaning: str
    is_required: bool = False


EXAMPLES = {"MRF": "mrf1", "STREAM": "actions"}


def documents() -> dict[Path, str]:
    """Return every generated file and what it should hold."""
    contract, settings = DOCS / "contracts" / "README.md", DOCS / "settings.md"
    parts = {"both streams": fields_table(Transaction)}
    for stream in STREAMS.values():
        parts[stream.name] = fields_table(stream.model, without=Transaction)
    return {
        **{DOCS / "contracts" / f"{name}.schema.json": schema(s.model) for name, s in STREAMS.items()},
        contract: filled(contract, parts),
        settings: filled(settings, {"commands": settings_sections()}),
        DOCS / "commands.md": commands_page(),
        ROOT / ".env.example": env_example(settings.read_text(encoding="utf-8")),
    }


def filled(page: Path, parts: Mapping[str, str]) -> str:
    """Return a page that is written by hand with its generated parts made anew."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        marks = re.compile(f"(<!-- generated: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        before, *pieces = marks.split(text)
        if len(pieces) != 3:
            raise SystemExit(f"{page.relative_to(ROOT)}: expected one part <!-- generated: {name} -->")
        text = f"{before}{pieces[0]}\n{part}\n{pieces[1]}{pieces[2]}"
    return text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


# The contract


def schema(model: type[BaseModel]) -> str:
    """Return a model's JSON Schema, draft 2020-12, as the text of a file."""
    return _json({"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()})


def fields_table(model: type[BaseModel], *, without: type[BaseModel] | None = None) -> str:
    """Return the table of a model's fields: in the message, in the warehouse, and what they mean."""
    left_out = without.model_fields if without else {}
    types = _column_types()
    rows = [
        (f"`{name}`", _in_message(field), types[name], field["description"])
        for name, field in model.model_json_schema()["properties"].items()
        if name not in left_out
    ]
    return table(("Field", "In the message", "In the warehouse", "Meaning"), rows)


def _column_types() -> dict[str, str]:
    values = psql.variables(ROOT / "sql" / "storage" / "postgresql.sql") | {"mrf": "mrf1"}
    scripts = [psql.script(path, values) for path in sorted((ROOT / "sql" / "mrf").glob("*.sql"))]
    column = re.compile(r"^    (\w+) +(.+?)(?: +NOT NULL.*)?,?$", re.MULTILINE)
    return {name: kind for text in scripts for name, kind in column.findall(text)}


_PATTERNS = {
    UUID_PATTERN: "UUID in lower case",
    TIMESTAMP_PATTERN: "text such as `2026-02-28T09:30:00.250Z`",
    ROUBLES_PATTERN: "text such as `1300.50`",
    MRF_PATTERN: "text, `mrf1` to `mrf999`",
}


def _in_message(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_in_message(option) for option in field["anyOf"])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("pattern") in _PATTERNS:
        return _PATTERNS[field["pattern"]]
    if field["type"] == "integer":
        return f"integer, {field['minimum']} to {field['maximum']}"
    return (
        "null"
        if field["type"] == "null"
        else f"text, {field['minLength']} to {field['maxLength']} characters"
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


# Commands


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command of the services' programs by its full name, groups before what is in them."""
    programs = [
        program for program in entry_points(group="console_scripts") if program.name.startswith("crmbot-")
    ]
    places = {name: place for place, name in enumerate(dict.fromkeys(name.split()[0] for name in READS))}
    for program in sorted(programs, key=lambda program: places.get(program.name, len(places))):
        main = program.load()
        command = main if isinstance(main, click.Command) else import_module(program.module).cli
        yield from _with_subcommands(program.name, command)


def _with_subcommands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            yield from _with_subcommands(f"{name} {subcommand.name}", subcommand)


def commands_page() -> str:
    """Return docs/commands.md: the `--help` of every command, HELP_WIDTH characters wide."""
    parts = [
        "# Commands\n\n<!-- Generated by docs/generate.py. -->\n\n"
        "Output of `--help`. Settings are environment variables: [settings.md](settings.md).\n"
    ]
    for name, command in commands():
        text = command.get_help(click.Context(command, info_name=name, terminal_width=HELP_WIDTH))
        parts.append(f"{'###' if ' ' in name else '##'} {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


# Settings


def variables(settings: type[BaseSettings]) -> list[Variable]:
    """Return the variables of a settings class, the required ones first."""
    properties = settings.model_json_schema()["properties"]
    found = []
    for name, field in settings.model_fields.items():
        is_required = field.is_required()
        default = properties[name].get("default")
        value = EXAMPLES[name.upper()] if is_required else "" if default is None else str(default)
        meaning = f"{field.description}{_limits(properties[name])}"
        found.append(Variable(name.upper(), value, meaning, is_required))
    return sorted(found, key=lambda variable: not variable.is_required)


def _limits(field: dict[str, Any]) -> str:
    limits = {"minimum": "from", "exclusiveMinimum": "more than", "maximum": "up to"}
    told = [f"{word} {field[key]}" for key, word in limits.items() if key in field]
    return f" ({', '.join(told)})" if told else ""


def settings_sections() -> str:
    """Return a section per command; commands in a row that read the same share one."""
    leaves = {name for name, command in commands() if not isinstance(command, click.Group)}
    if leaves != READS.keys():
        raise SystemExit(
            f"docs/generate.py: READS and the commands differ in {sorted(leaves ^ READS.keys())}"
        )
    sections = []
    for (program, reads), names in groupby(READS, key=lambda name: (name.split()[0], READS[name])):
        title = f"{program} {', '.join(name.removeprefix(f'{program} ') for name in names)}"
        sections.append(f"## {title}\n\n{_settings_table(reads)}")
    return "\n".join(sections)


def _settings_table(reads: Reads) -> str:
    if reads.settings is None:
        return "Reads no variables.\n"
    rows = [
        (f"`{v.name}`", "**required**" if v.is_required else f"`{v.value}`" if v.value else "", v.meaning)
        for v in variables(reads.settings)
        if reads.http or v.name != "HTTP_PORT"
    ]
    also = ["[`KAFKA_…`](#kafka)"] if reads.kafka else []
    if issubclass(reads.settings, WarehouseSettings):
        also.append("[libpq's variables](#the-warehouse)")
    return table(("Variable", "Default", "Meaning"), rows) + (
        f"\nAlso {' and '.join(also)}.\n" if also else ""
    )


def env_example(page: str) -> str:
    """Return every variable once: required ones are set, of the others the defaults or examples are shown.

    Args:
        page: docs/settings.md, whose tables of examples are the clients' own variables.
    """
    clients = [
        Variable(*row) for row in re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*)`)? *\| (.*) \|$", page, re.M)
    ]
    kafka = [
        v._replace(is_required=v.name == "KAFKA_BOOTSTRAP_SERVERS")
        for v in clients
        if v.name.startswith("KAFKA_")
    ]
    groups = {
        "Every service": variables(ServiceSettings),
        "Which bot, topic and table": [v for v in variables(consumer.TopicSettings) if v.is_required],
        "Kafka: producer and consumer": kafka,
        "Warehouse: consumer, audit and exporter": [
            *variables(WarehouseSettings),
            *(v for v in clients if v.name.startswith("PG")),
        ],
    }
    for name, reads in READS.items():
        groups.setdefault(name.split()[0], []).extend(variables(reads.settings) if reads.settings else ())
    text = ENV_INTRODUCTION
    seen: set[str] = set()
    for title, group in groups.items():
        new = {v.name: v for v in group if v.name not in seen}
        seen |= new.keys()
        lines = [f"# {v.meaning}\n{'' if v.is_required else '# '}{v.name}={v.value}\n" for v in new.values()]
        text += f"\n# {title}\n# {'-' * len(title)}\n" + "".join(lines) if lines else ""
    return text


ENV_INTRODUCTION = """\
# The services' settings, generated by docs/generate.py. Which command reads what: docs/settings.md.
# Required ones are set; the others are comments that show the default or, for the clients' own, an example.
# Values have no quotes, so that shells, Docker and Compose read this file alike.
"""


def main() -> None:
    """Write what has changed, and say so."""
    for path, text in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
