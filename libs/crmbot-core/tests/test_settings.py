"""Settings: which of them reach Kafka, and the errors of wrong ones."""

import pytest
from confluent_kafka import KafkaError

from crmbot_core.errors import ConfigurationError, CrmBotError
from crmbot_core.kafka import client_config
from crmbot_core.kafka_errors import as_error
from crmbot_core.settings import ServiceSettings, WarehouseSettings, kafka_settings, load


def test_kafka_variables_become_kafka_settings() -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": "broker:9093",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SSL_CA_LOCATION": "/ca.pem",
        "KAFKA_EMPTY": "",
        "OTHER": "x",
    }
    assert kafka_settings(environment) == {
        "bootstrap.servers": "broker:9093",
        "sasl.mechanism": "SCRAM-SHA-512",
        "ssl.ca.location": "/ca.pem",
    }


def test_kafka_without_a_broker_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="KAFKA_BOOTSTRAP_SERVERS"):
        kafka_settings({})


def test_users_override_defaults_but_not_fixed_settings() -> None:
    fixed = {"isolation.level": "read_committed", "enable.auto.commit": False}
    merged = client_config({"linger.ms": "50"}, defaults={"linger.ms": 5}, fixed=fixed)
    assert merged["linger.ms"] == "50"
    assert (
        client_config({"enable.auto.commit": "False"}, defaults={}, fixed=fixed)["enable.auto.commit"]
        is False
    )
    with pytest.raises(ConfigurationError, match="KAFKA_ISOLATION_LEVEL must be read_committed"):
        client_config({"isolation.level": "read_uncommitted"}, defaults={}, fixed=fixed)


def test_an_unknown_kafka_setting_is_named_by_its_variable() -> None:
    from confluent_kafka import KafkaException, Producer

    with pytest.raises(KafkaException) as caught:
        Producer({"bootstrap.servers": "x", "service.host": "10.0.0.1"})
    assert "KAFKA_SERVICE_HOST" in str(as_error(caught.value.args[0]))


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG_LEVEL", "LOUD"), ("LOG_FORMAT", "xml"), ("HTTP_PORT", "99999"), ("HTTP_PORT", "http")],
)
def test_a_wrong_setting_is_one_line_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load(ServiceSettings)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "hunter2")
    assert "hunter2" not in repr(load(WarehouseSettings))


def test_a_fatal_error_of_the_client_exits_with_1() -> None:
    error = as_error(KafkaError(KafkaError._STATE, "the state machine is broken", fatal=True))
    assert type(error) is CrmBotError
    assert error.exit_code == 1
    assert "the state machine is broken" in str(error)
