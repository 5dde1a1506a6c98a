"""Every panel of the Grafana dashboard has data."""

import json
from collections.abc import Iterator
from functools import partial

from tests.cluster.kube import ROOT, Object, until
from tests.cluster.prometheus import Prometheus


def queries() -> Iterator[tuple[str, str]]:
    """Yield the title of each panel and its query, with Grafana's variables filled in."""
    (file,) = (ROOT / "charts" / "crm-bot" / "dashboards").glob("*.json")
    panels: list[Object] = json.loads(file.read_text(encoding="utf-8"))["panels"]
    for panel in panels:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$mrf", ".+").replace("$__rate_interval", "1m")


def test_every_panel_has_data(prometheus: Prometheus, exported_after: float) -> None:
    asked = list(queries())
    assert len(asked) >= 10
    for title, query in asked:
        assert "$" not in query, title
        until(f"{title}: {query}", partial(prometheus.values, query), seconds=60)
