"""Command line options shared by services or missing in click."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


class FiniteFloat(click.FloatRange):
    """A number between two bounds. Click lets NaN through, which is neither below nor above them."""

    def __init__(self, min: float, max: float) -> None:
        super().__init__(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401  (the base class's signature)
        """Return the number.

        Raises:
            BadParameter: it is not a number, NaN, or outside the bounds.
        """
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def stream_option(help: str) -> Callable[[_Command], _Command]:
    """Return `--stream`, which overrides STREAM."""
    return click.option("--stream", type=click.Choice(["actions", "nature"]), help=help)
