"""Means over seeds, and how they are written."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

Scores = Float[np.ndarray, " seeds"]

LEVEL = 0.05


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % t interval.

    Attributes:
        mean: the mean, in the unit of the values.
        half_width: the interval is ``mean ± half_width``; None where the values do not determine one.
    """

    mean: float
    half_width: float | None

    def __str__(self) -> str:
        return f"{fixed(self.mean)}{self._plus_minus}"

    @property
    def signed(self) -> str:
        """The text with the sign always shown, as differences need it."""
        return f"{fixed(self.mean, sign='+')}{self._plus_minus}"

    @property
    def _plus_minus(self) -> str:
        return "" if self.half_width is None else f" ± {fixed(self.half_width)}"


def fixed(value: float, sign: str = "-") -> str:
    """Two decimals, without the minus of a negative zero.

    >>> fixed(-0.001), fixed(1.005), fixed(2.0, sign="+")
    ('0.00', '1.00', '+2.00')
    """
    return f"{round(value, 2) + 0.0:{sign}.2f}" if round(value, 2) else "0.00"


def estimate(values: Scores) -> Estimate:
    """The mean of ``values`` and its 95 % interval, mean ± t(0.975, n−1)·s/√n; no interval for one value."""
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Estimate(mean, None)
    quantile = float(special.stdtrit(count - 1, 1 - LEVEL / 2))
    return Estimate(mean, quantile * float(values.std(ddof=1)) / math.sqrt(count))
