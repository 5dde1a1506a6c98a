"""Marts as pandas frames whose values are Python objects."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

Record = dict[str, Any]
Frames = Mapping[str, pd.DataFrame]


def records(frame: pd.DataFrame) -> list[Record]:
    """Return a frame's rows as dicts by column."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def periods(summary: pd.DataFrame) -> tuple[Record, Record]:
    """Return the rows of a summary mart: the current period's and the previous one's."""
    rows = {row["period"]: row for row in records(summary)}
    return rows["current"], rows["previous"]
