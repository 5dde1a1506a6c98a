"""Services as processes: started, looked at, stopped together; failures name what the log says."""

import time
from pathlib import Path

import pytest

from devstack import DevstackError
from devstack.services import Services


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(tmp_path, {"DATA_DIR": str(tmp_path / "data")})


def test_a_service_runs_until_it_is_stopped(services: Services) -> None:
    bot = services.start({"MRF": "mrf1"}, "crmbot-generator", "load", "--rate", "100")
    assert bot.get("/healthz")[0] == 200
    deadline = time.monotonic() + 30
    while not bot.metric("crmbot_generator_rows_written_total"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    services.check()
    services.stop()
    assert bot.exit_code() == 0
    assert not services.running


def test_a_service_can_be_started_again(services: Services) -> None:
    bot = services.start({"MRF": "mrf1"}, "crmbot-generator", "load", "--rate", "1")
    first = bot.port()
    bot.kill()
    bot.start_again()
    assert bot.is_running
    services.stop()
    assert bot.logged(str(first)), "the log of the first process is kept"


def test_a_failure_shows_the_end_of_the_log(services: Services) -> None:
    bot = services.start({}, "crmbot-generator", "live")
    assert bot.exit_code() == 2
    with pytest.raises(DevstackError, match=r"exited with code 2; .*\n.*MRF"):
        services.check()
    with pytest.raises(DevstackError, match="no HTTP port"):
        bot.port()
    with pytest.raises(DevstackError, match=r"crmbot-generator live exited with code 2:\n.*MRF"):
        services.run({}, "crmbot-generator", "live")


def test_services_do_not_inherit_the_users_servers(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example.com:9092")
    with pytest.raises(DevstackError, match="KAFKA_BOOTSTRAP_SERVERS"):
        services.run({"MRF": "mrf1", "STREAM": "actions"}, "crmbot-producer", "topics")
