"""Session-wide servers for tests; pytest loads this plugin wherever the package is installed.

Loading it also imports the installed package `devstack` before collection: with --import-mode=importlib,
pytest would otherwise treat the folder `devstack/` of the repository as a package of that name.
"""

from collections.abc import Iterator

import pytest

from devstack.kafka import Kafka
from devstack.postgres import Postgres


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A Kafka broker for the whole session."""
    with Kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server for the whole session."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server
