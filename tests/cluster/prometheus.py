"""A client of Prometheus' HTTP API."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.cluster.kube import Object, request


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus server."""

    url: str

    def values(self, query: str) -> list[float]:
        """Return the current value of each series of a query, without NaN."""
        answer = request(f"{self.url}/api/v1/query?{urlencode({'query': query})}")
        assert answer["status"] == "success", answer
        values = [float(series["value"][1]) for series in answer["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    def has(self, query: str, values: Sequence[float]) -> bool:
        """Return whether the series of a query currently have these values, in any order."""
        return sorted(self.values(query)) == sorted(values)

    def targets(self) -> list[Object]:
        """Return the active scrape targets."""
        active: list[Object] = request(f"{self.url}/api/v1/targets")["data"]["activeTargets"]
        return active
