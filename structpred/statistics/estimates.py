"""Means over seeds, and how they are written."""

import math
from dataclasses import dataclass

from structpred.statistics.anytime import Rule, Scores, critical

LEVEL = 0.05
FEW = 3
"""Up to so many seeds a t interval is mostly the quantile of t: values are shown by their range instead."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval, or with its range where there are few seeds.

    Attributes:
        mean: the mean, in the unit of the values.
        half_width: the interval is ``mean ± half_width``; None where the values do not determine one.
        ends: the lowest and the highest of 2 or 3 values; None for any other number.
    """

    mean: float
    half_width: float | None
    ends: tuple[float, float] | None = None

    def __str__(self) -> str:
        return self._written("-")

    @property
    def signed(self) -> str:
        """The text with the sign always shown, as differences need it."""
        return self._written("+")

    @property
    def span(self) -> tuple[float, float] | None:
        """The ends of the interval, or the range where there is none; None for a single value."""
        if self.half_width is None:
            return self.ends
        return self.mean - self.half_width, self.mean + self.half_width

    def _written(self, sign: str) -> str:
        mean = fixed(self.mean, sign)
        if self.ends is not None:
            return f"{mean} ({fixed(self.ends[0], sign)} to {fixed(self.ends[1], sign)})"
        return mean if self.half_width is None else f"{mean} ± {fixed(self.half_width)}"


def fixed(value: float, sign: str = "-") -> str:
    """Two decimals, without the minus of a negative zero.

    >>> fixed(-0.001), fixed(1.005), fixed(2.0, sign="+")
    ('0.00', '1.00', '+2.00')
    """
    return f"{round(value, 2) + 0.0:{sign}.2f}" if round(value, 2) else "0.00"


def estimate(values: Scores, *, rule: Rule = "fixed") -> Estimate:
    """The mean of ``values`` and its 95 % interval, mean ± c·s/√n, with c of `critical`; no interval for one value.

    Two or three values have their range in its place.
    """
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Estimate(mean, None)
    if count <= FEW:
        return Estimate(mean, None, (float(values.min()), float(values.max())))
    return Estimate(mean, critical(count, LEVEL, rule) * float(values.std(ddof=1)) / math.sqrt(count))
