"""Settings that several services share, read from environment variables."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from crmbot_core.contracts.models import MRF_PATTERN
from crmbot_core.errors import ConfigurationError

MrfName = Annotated[str, StringConstraints(pattern=MRF_PATTERN)]
StreamName = Annotated[str, StringConstraints(pattern="^(actions|nature)$")]


class LogSettings(BaseSettings):
    """What every command reads."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    log_level: Annotated[str, StringConstraints(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = Field(
        default="INFO", description="least level that is logged: DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[str, StringConstraints(pattern="^(json|console)$")] = Field(
        default="json", description="json for machines, console for people"
    )


class ServiceSettings(LogSettings):
    """What every command reads that runs until it is told to stop."""

    http_port: int = Field(
        default=9108, ge=0, le=65535, description="port of /metrics, /healthz and /readyz; 0 takes a free one"
    )


class RetrySettings(ServiceSettings):
    """What the services read that move rows, and try again when a neighbour is away."""

    stuck_minutes: float = Field(
        default=15.0,
        gt=0,
        description="minutes without progress, while more and more waits, after which it ends with 1",
    )


class WarehouseSettings(BaseSettings):
    """How to reach the warehouse; libpq's own variables (PGHOST, PGPASSFILE, …) fill in what is left out."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    warehouse_dsn: str = Field(
        default="", description="libpq connection string or URL, without the password: host=… dbname=… user=…"
    )
    warehouse_password: SecretStr | None = Field(default=None, description="password of the warehouse's role")
    sql_dir: Path = Field(default=Path("sql"), description="folder of the warehouse's SQL files")


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def load(settings: type[AnySettings]) -> AnySettings:
    """Read settings from the environment.

    Raises:
        ConfigurationError: one line that names each wrong variable and why; values are not repeated.
    """
    try:
        return settings()
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ConfigurationError("wrong settings: " + "; ".join(problems)) from None


def kafka_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the Kafka client's settings: KAFKA_SASL_MECHANISM=… becomes sasl.mechanism, and so for all.

    Raises:
        ConfigurationError: if KAFKA_BOOTSTRAP_SERVERS is missing.
    """
    settings = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environ.items()
        if name.startswith("KAFKA_") and value
    }
    if "bootstrap.servers" not in settings:
        raise ConfigurationError("KAFKA_BOOTSTRAP_SERVERS: not set; give it as host:port,host:port")
    return settings
