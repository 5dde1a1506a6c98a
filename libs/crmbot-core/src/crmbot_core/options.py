"""Types of command line options that click does not have."""

import math
from typing import Any

import click


class FiniteFloat(click.FloatRange):
    """A number between two bounds. Click lets NaN through, which is neither below nor above them."""

    def __init__(self, min: float, max: float) -> None:
        super().__init__(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401  (the base class's signature)
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number
