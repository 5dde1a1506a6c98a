"""Prometheus' HTTP API, as far as these tests use it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.cluster.kube import Object, request


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus at a URL."""

    url: str

    def values(self, query: str) -> list[float]:
        """Return the value now of each series of a query; not those that are no number."""
        answer = request(f"{self.url}/api/v1/query?{urlencode({'query': query})}")
        assert answer["status"] == "success", answer
        values = [float(series["value"][1]) for series in answer["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    def has(self, query: str, values: Sequence[float]) -> bool:
        """Say whether the series of a query have these values now, in any order."""
        return sorted(self.values(query)) == sorted(values)

    def targets(self) -> list[Object]:
        """Return the targets that are scraped."""
        active: list[Object] = request(f"{self.url}/api/v1/targets")["data"]["activeTargets"]
        return active
