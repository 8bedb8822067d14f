"""Statistics of a comparison over seeds.

The unit is the run: one seed of one arm. Tests over the examples within runs ask whether two *given* models differ;
a claim about an objective must survive a new seed, so everything here takes one number per seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

Scores = Float[np.ndarray, " seeds"]

LEVEL = 0.05
POWER = 0.8
MOST_SEEDS = 1000

# Scores are ratios of counts times 100: differences that are equal on paper differ by rounding, about 1e-14. Without
# this threshold such rounding would pass for a tiny standard deviation and make t astronomical.
_ROUNDING = 1e-9
_QUANTILES = 1000


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


@dataclass(frozen=True)
class PairedTest:
    """A paired two-sided test of an arm against the baseline over seeds.

    Attributes:
        difference: arm minus baseline; no interval with one seed or a constant difference that is not zero.
        deviation: standard deviation of the differences; None with one seed.
        p: two-sided p value; None with one seed.
    """

    difference: Estimate
    deviation: float | None
    p: float | None


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


def paired_test(arm: Scores, baseline: Scores) -> PairedTest:
    """Student's paired t test over seeds: t = d̄ / (s/√n) with n−1 degrees of freedom.

    Where the differences do not vary, t is undefined, and the exact sign-flip test takes its place: with n equal
    differences, 2 of the 2ⁿ sign patterns are as extreme, so p = 2^(1−n); and p = 1 where all of them are zero. It
    needs no variance, and unlike the limit of t (p = 0) it does not turn two equal differences into certainty.

    Args:
        arm: scores of the arm, in the order of the seeds.
        baseline: scores of the baseline under the same seeds.

    Raises:
        ValueError: a score is not finite.
    """
    if not (np.isfinite(arm).all() and np.isfinite(baseline).all()):
        raise ValueError(f"scores must be finite, but got {arm.tolist()} against {baseline.tolist()}")
    differences, count = arm - baseline, len(arm)
    rounding = _ROUNDING * max(1.0, float(np.abs([arm, baseline]).max()))
    if np.abs(differences).max() <= rounding:
        differences = np.zeros(count)
    if count < 2:
        return PairedTest(estimate(differences), None, None)
    if np.ptp(differences) <= rounding:
        return _constant_difference(float(differences.mean()), count)
    difference, deviation = estimate(differences), float(differences.std(ddof=1))
    t = difference.mean / (deviation / math.sqrt(count))
    return PairedTest(difference, deviation, float(2 * special.stdtr(count - 1, -abs(t))))


def _constant_difference(difference: float, seeds: int) -> PairedTest:
    if difference == 0:
        return PairedTest(Estimate(0.0, 0.0), 0.0, 1.0)
    return PairedTest(Estimate(difference, None), 0.0, _sign_flip(seeds))


def _sign_flip(seeds: int) -> float:
    return float(2.0 ** (1 - seeds))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction: the i-th smallest of m is multiplied by m−i+1, kept monotone, capped at 1.

    A corrected p at or below the level keeps the chance of any false claim in the family below that level, however
    the tests depend on each other (they share a baseline).

    References:
        Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6, 1979.
    """
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return tuple(corrected)


def power(noncentrality: float, seeds: int, *, level: float = LEVEL) -> float:
    """The chance that a two-sided paired t test over ``seeds`` rejects.

    Args:
        noncentrality: √seeds · true difference / true standard deviation of the differences.
        seeds: number of pairs, at least 2.
        level: level of the test.
    """
    critical = float(special.stdtrit(seeds - 1, 1 - level / 2))
    thresholds = critical * _relative_deviations(seeds)
    # T is noncentral t: given the estimated deviation it is normal, and the deviation is averaged over. Done here as
    # scipy 1.17's own law is NaN in some lower tails, and its noncentral F diverges as the noncentrality nears 0.
    return float(np.mean(special.ndtr(noncentrality - thresholds) + special.ndtr(-noncentrality - thresholds)))


@lru_cache(maxsize=32)
def _relative_deviations(seeds: int) -> np.ndarray:
    """Evenly spaced quantiles of estimated over true standard deviation, √(χ²/(n−1)); enough for four decimals."""
    chances = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return np.asarray(np.sqrt(2 * special.gammaincinv((seeds - 1) / 2, chances) / (seeds - 1)))


def seeds_needed(difference: float, deviation: float, *, level: float = LEVEL) -> int | None:
    """The fewest seeds with 80 % power, were ``difference`` and ``deviation`` the true ones.

    Returns:
        The number of seeds, at least 2; None for more than `MOST_SEEDS`.
    """
    if deviation == 0:
        return None if difference == 0 else next(n for n in range(2, MOST_SEEDS) if _sign_flip(n) <= level)
    effect = abs(difference) / deviation
    low, high = 2, MOST_SEEDS + 1  # more seeds need a smaller effect, so bisect for the first that are enough
    while low < high:
        middle = (low + high) // 2
        enough = effect * math.sqrt(middle) >= _enough(middle, level)
        low, high = (low, middle) if enough else (middle + 1, high)
    return None if low > MOST_SEEDS else low


def detectable_difference(deviation: float, seeds: int, *, level: float = LEVEL) -> float:
    """The smallest true difference that a paired t test over ``seeds`` finds with 80 % power."""
    return _enough(seeds, level) * deviation / math.sqrt(seeds)


@lru_cache(maxsize=4 * MOST_SEEDS)
def _enough(seeds: int, level: float) -> float:
    """The noncentrality at which the power is 80 %."""
    critical = float(special.stdtrit(seeds - 1, 1 - level / 2))
    # At noncentrality 0 the power is the level; at 10 critical values it is near 1 for every number of seeds.
    root = optimize.brentq(lambda noncentrality: power(noncentrality, seeds, level=level) - POWER, 0.0, 10 * critical)
    return float(root)
