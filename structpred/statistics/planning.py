"""How many seeds a test needs, and what it can find with those it has."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import scipy  # scipy.optimize takes half a second to import, and is imported where it is first used
from scipy import special

from structpred.statistics.anytime import Rule, critical
from structpred.statistics.estimates import LEVEL

POWER = 0.8
MOST_SEEDS = 1000

CLEAR = 10.0
"""Standard deviations: a mean difference that ought to be enough for a verdict."""

_QUANTILES = 1000


def power(noncentrality: float, seeds: int, *, level: float = LEVEL, rule: Rule = "fixed") -> float:
    """The chance that a two-sided paired t test rejects at this number of seeds.

    Args:
        noncentrality: √seeds · true difference / true standard deviation of the differences.
        seeds: number of pairs, at least 2.
        level: level of the test.
        rule: which test; the anytime-valid one may have rejected at fewer seeds already, which is not counted.
    """
    thresholds = critical(seeds, level, rule) * _relative_deviations(seeds)
    # T is noncentral t: given the estimated deviation it is normal, and the deviation is averaged over. Done here as
    # scipy 1.17's own law is NaN in some lower tails, and its noncentral F diverges as the noncentrality nears 0.
    return float(np.mean(special.ndtr(noncentrality - thresholds) + special.ndtr(-noncentrality - thresholds)))


def equivalence_power(
    difference: float, deviation: float, margin: float, seeds: int, *, level: float = LEVEL, rule: Rule = "fixed"
) -> float:
    """The chance that a test shows the mean difference to lie within ±margin at this number of seeds.

    Args:
        difference: the true difference.
        deviation: the true standard deviation of the differences, above 0.
        margin: the largest difference that counts as none.
        seeds: number of pairs, at least 2.
        level: level of the test.
        rule: which test, as in `power`.
    """
    # Two one-sided tests at the level are the two-sided interval at twice the level.
    threshold = critical(seeds, 2 * level if rule == "fixed" else level, rule) * _relative_deviations(seeds)
    per_unit = math.sqrt(seeds) / deviation
    above = (margin - difference) * per_unit - threshold
    below = (-margin - difference) * per_unit + threshold
    return float(np.mean(np.maximum(special.ndtr(above) - special.ndtr(below), 0.0)))


@lru_cache(maxsize=MOST_SEEDS)
def _relative_deviations(seeds: int) -> np.ndarray:
    """Evenly spaced quantiles of estimated over true standard deviation, √(χ²/(n−1)); enough for four decimals."""
    chances = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return np.asarray(np.sqrt(2 * special.gammaincinv((seeds - 1) / 2, chances) / (seeds - 1)))


def fewest_seeds(level: float, rule: Rule) -> int:
    """The fewest seeds at which the test can reject for a mean difference of `CLEAR` standard deviations.

    Examples:
        >>> fewest_seeds(0.05, "fixed"), fewest_seeds(0.05, "anytime"), fewest_seeds(0.05 / 10, "anytime")
        (2, 4, 5)
    """
    return next(n for n in range(2, MOST_SEEDS) if critical(n, level, rule) <= CLEAR * math.sqrt(n))


def seeds_needed(difference: float, deviation: float, *, level: float = LEVEL, rule: Rule = "fixed") -> int | None:
    """The fewest seeds that show a difference with 80 % power, were ``difference`` and ``deviation`` the true ones.

    Returns:
        The number of seeds, at least 2; None for more than `MOST_SEEDS`.
    """
    if deviation == 0:
        return None if difference == 0 else _sign_flips(level / 2)
    effect = abs(difference) / deviation
    return _fewest(lambda seeds: effect * math.sqrt(seeds) >= _enough(seeds, level, rule))


def seeds_for_equivalence(
    difference: float, deviation: float, margin: float, *, level: float = LEVEL, rule: Rule = "fixed"
) -> int | None:
    """The fewest seeds that show equivalence with 80 % power, were ``difference`` and ``deviation`` the true ones.

    Returns:
        The number of seeds, at least 2; None for more than `MOST_SEEDS`, as where the difference is not within ±margin.
    """
    if abs(difference) >= margin:
        return None
    if deviation == 0:
        return _sign_flips(level if rule == "fixed" else level / 2)
    return _fewest(
        lambda seeds: equivalence_power(difference, deviation, margin, seeds, level=level, rule=rule) >= POWER
    )


def _sign_flips(level: float) -> int:
    """The fewest equal differences whose signs would all agree with a chance of at most the level, 2^−n."""
    return max(2, math.ceil(-math.log2(level)))


def _fewest(enough: Callable[[int], bool]) -> int | None:
    low, high = 2, MOST_SEEDS + 1  # with more seeds power grows, so bisect for the first that are enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return None if low > MOST_SEEDS else low


def detectable_difference(deviation: float, seeds: int, *, level: float = LEVEL, rule: Rule = "fixed") -> float:
    """The smallest true difference that a paired t test over ``seeds`` finds with 80 % power."""
    return _enough(seeds, level, rule) * deviation / math.sqrt(seeds)


@lru_cache(maxsize=4 * MOST_SEEDS)
def _enough(seeds: int, level: float, rule: Rule) -> float:
    """The noncentrality at which the power is 80 %."""
    most = 10 * critical(seeds, level, rule)  # at 0 the power is the level or less; here it is near 1
    if math.isinf(most):
        return math.inf
    return float(scipy.optimize.brentq(lambda given: power(given, seeds, level=level, rule=rule) - POWER, 0.0, most))
