"""skaffold.yaml is valid in every profile."""

from pathlib import Path

import pytest

from tests.cluster.kube import run

PROFILES = ["kind", "one-mrf", "external", "no-registry"]


@pytest.fixture(autouse=True)
def values_of_external_services(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values that a user of the profile `external` sets."""
    file = tmp_path / "external.yaml"
    file.write_text(
        "kafka: {bootstrapServers: 'broker.example.com:9092'}\n"
        "warehouse: {dsn: host=gp.example.com dbname=dwh user=crm_bot, existingSecret: crmbot-warehouse}\n"
    )
    monkeypatch.setenv("EXTERNAL_VALUES", str(file))
    monkeypatch.delenv("SKAFFOLD_PROFILE", raising=False)


@pytest.mark.parametrize("profile", PROFILES)
def test_diagnose_accepts_the_profile(profile: str) -> None:
    assert "releases:" in run("skaffold", "diagnose", "--yaml-only", f"--profile={profile}")


@pytest.mark.parametrize(
    ("profile", "has", "has_not"),
    [
        ("kind", ["name: mrf1-bot", "name: mrf2-bot", "apache/kafka", "grafana/grafana"], []),
        ("one-mrf", ["name: mrf1-bot", "apache/kafka"], ["name: mrf2-bot"]),
        ("external", ["name: mrf2-bot", "broker.example.com:9092", "grafana/grafana"], ["apache/kafka"]),
        ("no-registry", ["name: mrf2-bot", "crmbot-standin-kafka:"], ["apache/kafka", "grafana/grafana"]),
    ],
)
def test_render_gives_the_objects_of_the_profile(
    profile: str, has: list[str], has_not: list[str], images: Path
) -> None:
    text = run(
        "skaffold", "render", f"--profile={profile}", f"--build-artifacts={images}", "--digest-source=tag"
    )
    assert all(part in text for part in has)
    assert not any(part in text for part in has_not)
    for image in ("generator", "producer", "consumer", "exporter", "airflow"):
        assert f"image: crmbot-{image}:" in text
