"""What a bot's files show of its world: the figures of docs/world.md, by pandas alone."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

_WAY = ("application", "feasibility", "contract", "connected")
NO_LINE = "Нет технической возможности"


@dataclass
class Measures:
    """Measures of one bot.

    Args:
        folder: of the files.
        zone: local time.
    """

    folder: Path
    zone: str

    @cached_property
    def actions(self) -> pd.DataFrame:
        """All actions, with the local time of each as `at`."""
        return self._read("actions")

    @cached_property
    def nature(self) -> pd.DataFrame:
        """All steps of orders, with the local time of each as `at`."""
        return self._read("nature")

    def _read(self, stream: str) -> pd.DataFrame:
        with closing(sqlite3.connect(self.folder / f"{stream}.db")) as connection:
            rows = pd.read_sql(f"SELECT * FROM {stream} ORDER BY transaction_id", connection)
        rows["at"] = pd.to_datetime(rows["occurred_at"]).dt.tz_convert(self.zone)
        rows["recorded"] = pd.to_datetime(rows["recorded_at"]).dt.tz_convert(self.zone)
        return rows

    @cached_property
    def leads(self) -> pd.DataFrame:
        """One row per lead whose creation is in the file: what became of it, and when."""
        actions, nature = self.actions, self.nature
        leads = actions[actions.action == "lead_created"].set_index("lead_id")
        later = actions[(actions.action != "lead_created") & actions.lead_id.isin(leads.index)]
        talks = later[(later.result != "no_answer") & (later.refusal_reason != "Не удалось связаться")]
        meetings = later[later.action.isin(("meeting", "presentation")) & (later.result != "refused")]
        first = {
            "touched": later,
            "contacted": talks,
            "met": meetings,
            "ordered": later[later.result == "order_placed"],
            "refused": later[later.result == "refused"],
        }
        steps = {status: nature[nature.status == status] for status in (*_WAY, "lost")}
        for name, rows in (first | steps).items():
            leads[name] = rows.groupby("lead_id")["at"].min().reindex(leads.index)
        leads["lost_reason"] = steps["lost"].set_index("lead_id")["lost_reason"].reindex(leads.index)
        return leads

    def mature(self, segment: str, days: int) -> pd.DataFrame:
        """Return a segment's leads that had so many days to end."""
        leads = self.leads[self.leads.segment == segment]
        last = self.actions["at"].max() - pd.Timedelta(days=days)
        return pd.DataFrame(leads[leads["at"] < last])

    def hours(self, leads: pd.DataFrame, since: str, until: str, share: float) -> float:
        """Return a quantile of the hours between two moments of leads."""
        spent = (leads[until] - leads[since]).dropna()
        return float(spent.dt.total_seconds().quantile(share)) / 3600

    @cached_property
    def daily_leads(self) -> pd.DataFrame:
        """Leads of each segment by day, in columns; days without leads have zeros."""
        created = self.actions[self.actions.action == "lead_created"]
        days = created.groupby([created["at"].dt.date, "segment"]).size().unstack(fill_value=0)
        days.index = pd.to_datetime(days.index)
        return days.asfreq("D", fill_value=0)

    @property
    def days(self) -> pd.DatetimeIndex:
        """The days of `daily_leads`."""
        return pd.DatetimeIndex(self.daily_leads.index)

    @cached_property
    def connected(self) -> pd.DataFrame:
        """Connected orders, with their roubles a month as `revenue`."""
        connected = self.nature[self.nature.status == "connected"].copy()
        connected["revenue"] = connected["monthly_revenue"].astype(float)
        return connected


def top_share(values: pd.Series, share: float) -> float:
    """Return which part of a sum the largest values have."""
    ordered = values.sort_values(ascending=False)
    return float(ordered.head(max(1, round(len(ordered) * share))).sum() / ordered.sum())
