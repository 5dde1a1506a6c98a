"""Download a version of Kafka with all its jars from Maven Central: download.py VERSION FOLDER."""

import shutil
import sys
from pathlib import Path

from jgo.constants import MAVEN_CENTRAL_URL
from jgo.env import EnvironmentBuilder, LinkStrategy
from jgo.maven import MavenContext

version, folder = sys.argv[1], Path(sys.argv[2])
# Kafka's dependencies have no slf4j binding; the "!" ignores the versions that the binding's parent manages.
coordinates = f"org.apache.kafka:kafka_2.13:{version}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
maven = MavenContext(repo_cache=Path("repository"), remote_repos={"central": MAVEN_CENTRAL_URL}, timeout=60)
builder = EnvironmentBuilder(maven, cache_dir=Path("jgo"), link_strategy=LinkStrategy.COPY)
folder.mkdir(parents=True)
for jar in builder.from_endpoint(coordinates).all_jars:
    shutil.move(jar, folder)
