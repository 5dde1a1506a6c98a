"""Kafka's jars from Maven Central."""

import os
import shutil
from pathlib import Path

from devstack.cache import cached
from devstack.server import DevstackError

# Tests and demo run on the version that the variable names.
KAFKA_VERSION = os.environ.get("DEVSTACK_KAFKA_VERSION", "4.2.1")
# Kafka's own dependencies have no binding for slf4j: without it the broker would log nothing. The "!" keeps
# the versions that the binding's parent asks for (an older kafka-clients) out of the resolution.
_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
)


def kafka_jars() -> list[Path]:
    """Return Kafka's jars, downloading them into the user's cache the first time (about 40 MB).

    Raises DevstackError when they can't be downloaded.
    """
    return sorted(cached(f"kafka-{KAFKA_VERSION}", _download).glob("*.jar"))


def _download(staging: Path) -> Path:
    from jgo.constants import MAVEN_CENTRAL_URL  # here, since importing jgo takes long and is rarely needed
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext

    # jgo takes what an interrupted download left for a whole file: hence an empty folder.
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
