"""The chart's tests need helm; without it they are skipped."""

from pathlib import Path

import pytest

from tests.chart.rendering import tool

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if tool("helm") is None:
        skip = pytest.mark.skip(reason="helm not found: put it on PATH, or set HELM to its path")
        for item in items:
            if _HERE in item.path.parents:
                item.add_marker(skip)
