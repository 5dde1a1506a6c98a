"""Settings shared by several services, read from environment variables."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from crmbot_core.contracts.models import MRF_PATTERN
from crmbot_core.errors import ConfigurationError

MrfName = Annotated[str, StringConstraints(pattern=MRF_PATTERN)]
StreamName = Annotated[str, StringConstraints(pattern="^(actions|nature)$")]


def _printable(folder: Path) -> Path:
    if not str(folder).isprintable():
        raise ValueError(f"{str(folder)!r} contains unprintable characters")
    return folder


def _utf8(secret: SecretStr) -> SecretStr:
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("not UTF-8") from None
    return secret


def _connection_string(dsn: str) -> str:
    # Imported here, because the generator does not install psycopg.
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        ports = str(conninfo_to_dict(dsn).get("port") or "")
    except (ProgrammingError, UnicodeError):  # libpq's message may quote parts of it, such as a password
        raise ValueError("not a valid libpq connection string") from None
    if any(port and not _is_port(port) for port in ports.split(",")):
        raise ValueError("its port is not a number from 1 to 65535")
    return dsn


def _is_port(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", text)) and 1 <= int(text) <= 65535


Folder = Annotated[Path, AfterValidator(_printable)]


class LogSettings(BaseSettings):
    """Settings of every command."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    log_level: Annotated[str, StringConstraints(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = Field(
        default="INFO", description="minimum log level: DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[str, StringConstraints(pattern="^(json|console)$")] = Field(
        default="json", description="json for machines, console for people"
    )


class ServiceSettings(LogSettings):
    """Settings of every long-running command."""

    http_port: int = Field(
        default=9108,
        ge=0,
        le=65535,
        description="port of /metrics, /healthz and /readyz; 0 picks a free port",
    )


class RetrySettings(ServiceSettings):
    """Settings of the services that move rows and retry after transient failures."""

    stuck_minutes: float = Field(
        default=15.0,
        gt=0,
        le=10_080,
        description="minutes without progress, while the backlog grows, after which it exits with 1",
    )


class WarehouseSettings(BaseSettings):
    """Connection to the warehouse; libpq's own variables (PGHOST, PGPASSFILE, …) provide what is not set."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    warehouse_dsn: Annotated[str, AfterValidator(_connection_string)] = Field(
        default="", description="libpq connection string or URL, without the password: host=… dbname=… user=…"
    )
    warehouse_password: Annotated[SecretStr, AfterValidator(_utf8)] | None = Field(
        default=None, description="password of the warehouse's role"
    )
    sql_dir: Folder = Field(default=Path("sql"), description="folder of the warehouse's SQL files")


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def load(settings: type[AnySettings], **options: object) -> AnySettings:
    """Read settings from the environment.

    Args:
        settings: the class to read.
        options: values from the command line, which override the environment; None if not given.

    Raises:
        ConfigurationError: one line with each wrong variable and the reason, but no values.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        return settings(**given)
    except ValidationError as error:
        problems = [
            _problem(settings, str(problem["loc"][0]), problem["msg"])
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ConfigurationError("wrong settings: " + "; ".join(problems)) from None


def _problem(settings: type[BaseSettings], name: str, message: str) -> str:
    """Say what is wrong with a variable and what it should be."""
    return (
        f"{name.upper()}: {message.removeprefix('Value error, ')} ({settings.model_fields[name].description})"
    )


_PROTOCOL = "(?:PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)://"
_BROKER = re.compile(rf"(?:{_PROTOCOL})?(?:[\w.-]+|\[[0-9a-f:.]+\])(?::([0-9]+))?", re.ASCII | re.IGNORECASE)


def kafka_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the Kafka client's settings from all KAFKA_… variables: KAFKA_SASL_MECHANISM is sasl.mechanism.

    Raises:
        ConfigurationError: KAFKA_BOOTSTRAP_SERVERS is missing or wrong, or a value is not UTF-8.
    """
    settings = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environ.items()
        if name.startswith("KAFKA_") and value
    }
    if "bootstrap.servers" not in settings:
        raise ConfigurationError("KAFKA_BOOTSTRAP_SERVERS: not set; give it as host:port,host:port")
    brokers = [_BROKER.fullmatch(broker.strip()) for broker in settings["bootstrap.servers"].split(",")]
    if not all(broker and (broker[1] is None or _is_port(broker[1])) for broker in brokers):
        raise ConfigurationError(
            "KAFKA_BOOTSTRAP_SERVERS: not a list of brokers; give it as host:port,host:port"
        )
    for name, value in settings.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"{variable_name(name)}: not UTF-8; correct the variable") from None
    return settings


def variable_name(setting: str) -> str:
    """Return the environment variable of a Kafka setting: sasl.mechanism is KAFKA_SASL_MECHANISM."""
    return "KAFKA_" + setting.upper().replace(".", "_")
