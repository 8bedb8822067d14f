"""Means over seeds and how they are written, and the noise that many small groups of seeds share."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from structpred.statistics.anytime import Rule, Scores, critical

LEVEL = 0.05
ROUNDING = 1e-9
"""Scores are ratios of counts times 100: those that are equal on paper differ by rounding, by about 1e-14. Without this
threshold such rounding would pass for a tiny standard deviation, and make t astronomical."""

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

    Examples:
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


def rounding_of(scores: Scores) -> float:
    """The largest difference between scores of this size that counts as none."""
    return ROUNDING * max(1.0, float(np.abs(scores).max()))


@dataclass(frozen=True)
class Noise:
    """How much a score varies from seed to seed at the same settings.

    Groups of seeds, such as the trials of a search, are too small for a spread of their own: often a single seed. So
    all share one, the standard deviation within groups, pooled.

    Attributes:
        deviation: pooled standard deviation within groups, in the unit of the scores.
        freedom: its degrees of freedom.
    """

    deviation: float
    freedom: int

    @classmethod
    def of(cls, groups: Iterable[Sequence[float]]) -> "Noise | None":
        """Pooled over the groups of two scores or more; None where there are none, or nothing varies.

        Args:
            groups: the scores of each setting, one a seed.
        """
        several = [np.asarray(group, float) for group in groups if len(group) > 1]
        freedom = sum(len(group) - 1 for group in several)
        varying = [group for group in several if np.ptp(group) > rounding_of(group)]
        squares = sum(float(group.var()) * len(group) for group in varying)
        return cls(math.sqrt(squares / freedom), freedom) if squares > 0 else None

    def threshold(self, best: Sequence[float], other: Sequence[float], compared: int) -> float:
        """How much worse than the best a group's mean must be to count as shown.

        t(1 − 5 %/m; ν) · s · √(1/n + 1/n'), one-sided, with s and ν of the noise and m groups compared with the best
        (Bonferroni). If the seeds of the best did not choose it, the chance of any false claim is below 5 %.

        Args:
            best: the n scores of the best group.
            other: the n' scores of the other.
            compared: m.
        """
        quantile = float(special.stdtrit(self.freedom, 1 - LEVEL / max(compared, 1)))
        return quantile * self.deviation * math.sqrt(1 / len(best) + 1 / len(other))
