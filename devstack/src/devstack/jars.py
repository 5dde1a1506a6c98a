"""Kafka's jars from Maven Central."""

import os
import shutil
from pathlib import Path

from devstack.cache import cached
from devstack.server import DevstackError

# The variable sets the version for tests and demo.
KAFKA_VERSION = os.environ.get("DEVSTACK_KAFKA_VERSION", "4.2.1")
# Kafka's dependencies have no slf4j binding, without which the broker logs nothing. The "!" ignores the
# versions that the binding's parent manages (an older kafka-clients).
_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
)


def kafka_jars() -> list[Path]:
    """Return Kafka's jars, downloading them into the user's cache the first time (about 40 MB).

    Raises DevstackError when they can't be downloaded.
    """
    return sorted(cached(f"kafka-{KAFKA_VERSION}", _download).glob("*.jar"))


def _download(staging: Path) -> Path:
    from jgo.constants import MAVEN_CENTRAL_URL  # here, because importing jgo is slow and rarely needed
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext

    # jgo would use partial files of an interrupted download: hence an empty folder.
    maven = MavenContext(
        repo_cache=staging / "repository", remote_repos={"central": MAVEN_CENTRAL_URL}, timeout=60
    )
    builder = EnvironmentBuilder(maven, cache_dir=staging / "jgo", link_strategy=LinkStrategy.COPY)
    try:
        jars = builder.from_endpoint(_COORDINATES).all_jars
    except (OSError, RuntimeError) as error:
        raise DevstackError(
            f"Kafka {KAFKA_VERSION} can't be downloaded from {MAVEN_CENTRAL_URL}: {error}; "
            "check the network (HTTPS_PROXY is honoured) and start again"
        ) from error
    kept = staging / "jars"
    kept.mkdir()
    for jar in jars:
        shutil.move(jar, kept)
    return kept
