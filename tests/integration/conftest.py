"""A separate pipeline for every test, on the session's broker and warehouse (fixtures of devstack)."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.certificates import Authority
from devstack.kafka import Kafka
from devstack.postgres import Postgres
from tests.integration.pipeline import Pipeline

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for the tests of a module."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def pipeline(kafka: Kafka, postgres: Postgres, tmp_path: Path) -> Iterator[Pipeline]:
    """A new MRF, with topics and tables but without files."""
    pipeline = Pipeline(f"mrf{next(_NUMBERS)}", tmp_path, kafka.bootstrap_servers, postgres.dsn).set_up()
    try:
        yield pipeline
    finally:
        pipeline.close()
