"""The configuration of the data2excel DAGs: schedules and pods of each MRF."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

import yaml
from croniter import croniter
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    StrictBool,
    StringConstraints,
    ValidationError,
    model_validator,
)


class DagConfigError(ValueError):
    """The configuration file is invalid; the message is one line that names each wrong key."""


def _cron(expression: str) -> str:
    if len(expression.split()) != 5 or not croniter.is_valid(expression):
        raise ValueError("not a cron expression")
    return expression


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, LookupError):  # a directory of the time zone database; an unknown zone
        raise ValueError("not a time zone") from None
    return name


MrfName = Annotated[str, StringConstraints(pattern=r"^mrf[1-9][0-9]{0,2}$")]
# RFC 1123 subdomain, as Kubernetes requires.
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253)]
Text = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Resources(_Strict):
    """The pod's resource requests and limits, in Kubernetes quantities."""

    requests: dict[Literal["cpu", "memory"], str] = Field(default_factory=dict)
    limits: dict[Literal["cpu", "memory"], str] = Field(default_factory=dict)


class CaFile(_Strict):
    """Source of the trusted certificates: a key of a ConfigMap or a Secret."""

    config_map: ObjectName | None = None
    secret: ObjectName | None = None
    key: Text = "ca.crt"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.config_map is None) == (self.secret is None):
            raise ValueError("one of config_map and secret is needed")
        return self


class PodConfig(_Strict):
    """Settings shared by the DAGs of the MRFs and of all Russia: names, retries and pods.

    Error messages quote the descriptions as the expected values.
    """

    title: Text = Field(description="the name for people, such as Центр")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        description="an IANA time zone, such as Europe/Moscow"
    )
    owner: Text = Field(description="whom Airflow shows as the DAG's owner")
    retries: NonNegativeInt = Field(description="how often a failed export is tried again: 0, 1, 2, …")
    retry_delay_minutes: PositiveInt = Field(description="whole minutes between two tries, at least 1")
    timeout_minutes: PositiveInt = Field(description="whole minutes that one try may take, at least 1")
    deadline_minutes: PositiveInt = Field(
        default=180, description="whole minutes after which a run that has not ended fails"
    )
    alert_connection: Text | None = Field(
        default=None,
        description="an Airflow connection whose host and password make up the URL of a chat's webhook",
    )
    namespace: ObjectName = Field(description="the Kubernetes namespace of the pods, in lower case")
    image: Text = Field(description="the exporter's image with its tag or digest")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        description="Always, IfNotPresent or Never"
    )
    service_account: ObjectName = Field(description="the name of a ServiceAccount")
    warehouse_secret: ObjectName = Field(
        description="the name of a Secret with the keys WAREHOUSE_DSN and WAREHOUSE_PASSWORD"
    )
    warehouse_ca: CaFile | None = Field(
        default=None, description="a mapping of config_map or secret, and key: the certificates to trust"
    )
    warehouse_certificate: ObjectName | None = Field(
        default=None, description="the name of a TLS Secret, which takes the place of the password"
    )
    output_claim: ObjectName = Field(description="the name of a PersistentVolumeClaim")
    output_dir: Annotated[str, StringConstraints(pattern="^/")] = Field(
        description="an absolute path, such as /opt/airflow/dags"
    )
    fs_group: PositiveInt | None = Field(
        description="the number of the group that may write to the volume, or null where the cluster gives it"
    )
    resources: Resources = Field(
        description="requests and limits, each with cpu, memory or both as Kubernetes quantities"
    )


class ExportConfig(PodConfig):
    """The export of one MRF."""

    schedule: Annotated[str, AfterValidator(_cron)] = Field(
        description="a cron expression of five fields, such as '0 6 * * *'"
    )
    start_date: date = Field(
        default=date(2026, 1, 1), description="the day before which nothing is exported, such as 2026-01-01"
    )
    catchup: StrictBool = Field(
        default=False, description="true to export every interval since start_date, false for the latest one"
    )
    data_rows: Literal["all", "month"] = Field(
        default="month", description="rows of the data sheets: all or month"
    )


class Configuration(NamedTuple):
    """The whole file: the MRFs' exports, and the all-Russia export or None."""

    mrfs: dict[str, ExportConfig]
    russia: PodConfig | None


# Specific to each MRF: if missing, the error names the MRF instead of `defaults`.
_OWN_KEYS = {"title", "timezone"}


class _File(_Strict):
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="a mapping of keys that all MRFs share"
    )
    mrfs: dict[MrfName, dict[str, Any]] = Field(
        min_length=1, description="at least one MRF, mrf1 … mrf999, each a mapping of its keys"
    )
    russia: dict[str, Any] | None = Field(
        default=None, description="a mapping of the keys of the all-Russia workbook; none without it"
    )


def report_day(end: datetime, timezone: str) -> date:
    """Return the last day of the report of an interval: the local day before its end."""
    return end.astimezone(ZoneInfo(timezone)).date() - timedelta(days=1)


def load(path: Path) -> Configuration:
    """Read the configuration of every MRF and of all Russia: their own keys override the defaults.

    Raises:
        DagConfigError: if the file cannot be read or a key is missing, unknown or invalid.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DagConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise DagConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None

    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise DagConfigError(f"{path}: {'; '.join(_problems(error, _File, {}, ''))}") from None

    configs: dict[str, ExportConfig] = {}
    problems: dict[str, None] = {}  # an ordered set: a wrong default is reported once
    for mrf, own_keys in file.mrfs.items():
        try:
            configs[mrf] = ExportConfig.model_validate(_named(file.defaults | own_keys, mrf))
        except ValidationError as error:
            prefixes = dict.fromkeys(own_keys.keys() | _OWN_KEYS, f"mrfs.{mrf}.")
            problems |= dict.fromkeys(_problems(error, ExportConfig, prefixes, "defaults."))
    russia = None
    if file.russia is not None:
        # `defaults` may have keys that only MRFs have.
        shared = {key: value for key, value in file.defaults.items() if key in PodConfig.model_fields}
        try:
            russia = PodConfig.model_validate(shared | file.russia)
        except ValidationError as error:
            prefixes = dict.fromkeys(file.russia.keys() | _OWN_KEYS, "russia.")
            problems |= dict.fromkeys(_problems(error, PodConfig, prefixes, "defaults."))
    if problems:
        raise DagConfigError(f"{path}: {'; '.join(problems)}")
    return Configuration(configs, russia)


def _named(keys: Mapping[str, Any], mrf: str) -> dict[str, Any]:
    """Replace {mrf} with the MRF's name."""
    return {k: v.replace("{mrf}", mrf) if isinstance(v, str) else v for k, v in keys.items()}


def _problems(
    error: ValidationError, model: type[BaseModel], prefixes: Mapping[str, str], prefix: str
) -> list[str]:
    """Return for each wrong key its path, the problem and the expected value."""
    problems = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"] if part != "[key]"]
        if not location:
            problems.append(f"expected a mapping with the keys {', '.join(model.model_fields)}")
            continue
        where = prefixes.get(location[0], prefix) + ".".join(location)
        field = model.model_fields.get(location[0])
        if field is None:
            problems.append(f"{where}: unknown key; expected one of {', '.join(model.model_fields)}")
        elif problem["type"] == "missing":
            problems.append(f"{where}: missing; expected {field.description}")
        else:
            problems.append(f"{where}: got {problem['input']!r}; expected {field.description}")
    return problems
