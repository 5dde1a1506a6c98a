"""An invalid data2excel.yaml is reported in one line that names the key and what is expected."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.dag_processing.dagbag import BundleDagBag
from data2excel_config import DagConfigError, load, report_day

from .conftest import DAGS

Config = dict[str, Any]


def edited(tmp_path: Path, edit: Callable[[Config], object]) -> Path:
    """Write the shipped configuration with one change."""
    config = yaml.safe_load((DAGS / "data2excel.yaml").read_text(encoding="utf-8"))
    edit(config)
    path = tmp_path / "data2excel.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(DagConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_names_derive_from_the_mrf_unless_they_are_set(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda config: config["mrfs"]["mrf2"].update(output_claim="elsewhere"))
    mrfs = load(path).mrfs
    assert (mrfs["mrf1"].output_claim, mrfs["mrf1"].service_account) == ("mrf1-workbooks", "mrf1-exporter")
    assert (mrfs["mrf2"].output_claim, mrfs["mrf2"].service_account) == ("elsewhere", "mrf2-exporter")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            lambda config: config["mrfs"]["mrf5"].update(timezone="Asia/Ekaterinburg"),
            "mrfs.mrf5.timezone: got 'Asia/Ekaterinburg'; expected an IANA time zone, such as Europe/Moscow",
        ),
        (
            lambda config: config["mrfs"]["mrf1"].update(timezone="Europe"),
            "mrfs.mrf1.timezone: got 'Europe'; expected an IANA time zone, such as Europe/Moscow",
        ),
        (
            lambda config: config["mrfs"]["mrf4"].pop("timezone"),
            "mrfs.mrf4.timezone: missing; expected an IANA time zone, such as Europe/Moscow",
        ),
        (
            lambda config: config["defaults"].update(schedule="0 6 * *"),
            "defaults.schedule: got '0 6 * *'; "
            "expected a cron expression of five fields, such as '0 6 * * *'",
        ),
        (
            lambda config: config["mrfs"]["mrf2"].update(schedule="0 25 * * *"),
            "mrfs.mrf2.schedule: got '0 25 * * *'; "
            "expected a cron expression of five fields, such as '0 6 * * *'",
        ),
        (
            lambda config: config["defaults"].pop("warehouse_secret"),
            "defaults.warehouse_secret: missing; "
            "expected the name of a Secret with the keys WAREHOUSE_DSN and WAREHOUSE_PASSWORD",
        ),
        (
            lambda config: config["defaults"].update(output_dir="dags"),
            "defaults.output_dir: got 'dags'; expected an absolute path, such as /opt/airflow/dags",
        ),
        (
            lambda config: config["defaults"]["resources"]["limits"].update(memori="1Gi"),
            "defaults.resources.limits.memori: got 'memori'; "
            "expected requests and limits, each with cpu, memory or both as Kubernetes quantities",
        ),
        (
            lambda config: config["mrfs"].update(moscow=config["mrfs"].pop("mrf1")),
            "mrfs.moscow: got 'moscow'; expected at least one MRF, mrf1 … mrf999, each a mapping of its keys",
        ),
        (
            lambda config: config.update(mrfs={}),
            "mrfs: got {}; expected at least one MRF, mrf1 … mrf999, each a mapping of its keys",
        ),
        (lambda config: config.update(mrf={}), "mrf: unknown key; expected one of defaults, mrfs, russia"),
        (
            lambda config: config["defaults"].update(catchup="yes"),
            "defaults.catchup: got 'yes'; "
            "expected true to export every interval since start_date, false for the latest one",
        ),
        (
            lambda config: config["russia"].update(schedule="0 6 * * *"),
            "russia.schedule: unknown key; expected one of title, timezone, owner, retries, "
            "retry_delay_minutes, timeout_minutes, deadline_minutes, alert_connection, namespace, image, "
            "image_pull_policy, service_account, warehouse_secret, warehouse_ca, warehouse_certificate, "
            "output_claim, output_dir, fs_group, resources",
        ),
        (
            lambda config: config["defaults"].update(warehouse_ca={"config_map": "a", "secret": "b"}),
            "defaults.warehouse_ca: got {'config_map': 'a', 'secret': 'b'}; "
            "expected a mapping of config_map or secret, and key: the certificates to trust",
        ),
    ],
)
def test_an_invalid_key_is_reported_with_what_is_expected(
    tmp_path: Path, edit: Callable[[Config], object], expected: str
) -> None:
    assert message(edited(tmp_path, edit)) == expected


def test_an_unknown_key_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda config: config["mrfs"]["mrf3"].update(shedule="0 7 * * *"))
    assert message(path).startswith("mrfs.mrf3.shedule: unknown key; expected one of title, timezone, owner")


@pytest.mark.parametrize(
    ("text", "expected"), [("mrfs: [", "not YAML: "), ("", "expected a mapping with the keys")]
)
def test_a_file_that_is_not_a_mapping_is_reported(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "data2excel.yaml"
    path.write_text(text, encoding="utf-8")
    assert message(path).startswith(expected)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    assert message(tmp_path / "absent.yaml").startswith("cannot be read: ")


def test_an_mrf_may_differ_from_the_defaults(tmp_path: Path) -> None:
    def edit(config: Config) -> None:
        config["mrfs"]["mrf2"].update(schedule="30 5 * * 1-5", namespace="crm-bot-mrf2")

    configs = load(edited(tmp_path, edit)).mrfs
    assert (configs["mrf2"].schedule, configs["mrf2"].namespace) == ("30 5 * * 1-5", "crm-bot-mrf2")
    assert (configs["mrf1"].schedule, configs["mrf1"].namespace) == ("0 6 * * *", "crm-bot")


def test_newer_keys_have_defaults(tmp_path: Path) -> None:
    newer = ("start_date", "catchup", "data_rows", "deadline_minutes")

    def edit(config: Config) -> None:
        config.pop("russia")
        for key in newer:
            config["defaults"].pop(key)

    configuration = load(edited(tmp_path, edit))
    assert configuration.russia is None
    config = configuration.mrfs["mrf1"]
    assert (config.start_date, config.catchup, config.data_rows) == (date(2026, 1, 1), False, "month")
    assert config.deadline_minutes == 180


@pytest.mark.parametrize(
    ("end", "timezone", "day"),
    [
        (datetime(2026, 10, 1, 3, tzinfo=UTC), "Europe/Moscow", date(2026, 9, 30)),
        (datetime(2026, 9, 30, 20, tzinfo=UTC), "Asia/Vladivostok", date(2026, 9, 30)),
        (datetime(2026, 9, 30, 20, tzinfo=UTC), "Europe/Moscow", date(2026, 9, 29)),
    ],
)
def test_a_report_ends_with_the_day_before_its_interval_ends(end: datetime, timezone: str, day: date) -> None:
    assert report_day(end, timezone) == day


def test_airflow_shows_the_line_as_the_import_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = edited(tmp_path, lambda config: config["mrfs"]["mrf7"].update(timezone="Asia/Vladivostock"))
    monkeypatch.setenv("DATA2EXCEL_CONFIG", str(path))
    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.dags == {}
    (error,) = bag.import_errors.values()
    assert error.splitlines()[-1].endswith(
        f"DagConfigError: {path}: mrfs.mrf7.timezone: got 'Asia/Vladivostock'; "
        "expected an IANA time zone, such as Europe/Moscow"
    )
