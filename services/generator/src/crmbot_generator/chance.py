"""Random draws that the world and the lives share."""

import math
import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Generic, TypeVar

from crmbot_generator.parameters import Duration

T = TypeVar("T")

_BITS = 11
_STEPS = 1 << _BITS


class Choice(Generic[T]):
    """A weighted choice that is prepared once and drawn often, in steps of a 2048th."""

    __slots__ = ("_table", "items")

    def __init__(self, items: Sequence[T], weights: Sequence[float]) -> None:
        self.items = items
        ends = list(accumulate(weights))
        last = len(items) - 1
        self._table = [
            items[bisect(ends, (place + 0.5) / _STEPS * ends[-1], 0, last)] for place in range(_STEPS)
        ]

    @classmethod
    def of(cls, weights: Mapping[T, float]) -> "Choice[T]":
        """Choose among keys by their values."""
        return cls(list(weights), list(weights.values()))

    def draw(self, rng: random.Random) -> T:
        """Draw one of the items."""
        return self._table[rng.getrandbits(_BITS)]


def durations(of: Duration) -> Choice[float]:
    """Return the choice of a lognormal duration, in minutes of working time."""
    normal = NormalDist()
    quantiles = [normal.inv_cdf((place + 0.5) / _STEPS) for place in range(_STEPS)]
    return Choice([of.median * math.exp(of.sigma * quantile) for quantile in quantiles], [1] * _STEPS)


def count(rng: random.Random, mean: float, dispersion: float) -> int:
    """Draw arrivals of variance mean + mean² / dispersion: Poisson with a gamma-distributed mean."""
    if mean <= 0:
        return 0
    return poisson(rng, rng.gammavariate(dispersion, mean / dispersion))


def poisson(rng: random.Random, mean: float) -> int:
    """Draw from a Poisson distribution; for large means from the normal one that it approaches."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    number, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        number += 1
        product *= rng.random()
    return number


def mixed(seed: int, number: int) -> int:
    """Return a 64-bit hash of a number: the same for the same seed (the mix of SplitMix64)."""
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)
