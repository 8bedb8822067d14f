"""Paired tests over seeds: whether two arms differ, and whether they differ by less than a margin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from structpred.statistics.anytime import Rule, Scores, log_evidence
from structpred.statistics.estimates import Estimate, estimate, rounding_of

MARGIN = 0.5
"""Percentage points: the difference of a metric that counts as none, unless the comparison says another."""


@dataclass(frozen=True)
class PairedTest:
    """What paired scores say of the mean difference μ.

    Attributes:
        difference: arm minus baseline; no interval with one seed or a constant difference that is not zero.
        deviation: standard deviation of the differences; None with one seed.
        p: two-sided p value of μ = 0; None with one seed.
        equivalence_p: p value of |μ| ≥ margin, so that a small one shows the arms to be equivalent; None with one seed.
    """

    difference: Estimate
    deviation: float | None
    p: float | None
    equivalence_p: float | None


def paired_test(arm: Scores, baseline: Scores, *, margin: float = MARGIN, rule: Rule = "fixed") -> PairedTest:
    """Test a difference and equivalence over seeds.

    For a number of seeds that was fixed beforehand: Student's paired t test, t = d̄/(s/√n) with n−1 degrees of freedom,
    and two one-sided t tests of d − margin and d + margin, of which the larger p counts (Schuirmann 1987). Else the
    evidence of `log_evidence`: p is one over the largest that any first seeds gave, so that looking again never
    breaks the level.

    Where differences do not vary, t is undefined, and exact sign flips take its place: with n equal differences, 2 of
    the 2ⁿ sign patterns are as extreme, so p = 2^(1−n); and p = 1 where all of them are zero. They need no variance,
    and unlike the limit of t (p = 0) they do not turn two equal differences into certainty.

    Args:
        arm: scores of the arm, in the order in which seeds were run.
        baseline: scores of the baseline under the same seeds.
        margin: the largest difference that counts as none, above 0.
        rule: ``"fixed"``, or ``"anytime"`` where seeds were added after a look.

    Raises:
        ValueError: a score is not finite, or the margin is not above 0.
    """
    if not (np.isfinite(arm).all() and np.isfinite(baseline).all()):
        raise ValueError(f"scores must be finite, but got {arm.tolist()} against {baseline.tolist()}")
    if not margin > 0:
        raise ValueError(f"a margin must be above 0, but got {margin}")
    differences, seeds = arm - baseline, len(arm)
    rounding = rounding_of(np.concatenate([arm, baseline]))
    if np.abs(differences).max() <= rounding:
        differences = np.zeros(seeds)
    mean = float(differences.mean())
    if seeds < 2:
        return PairedTest(Estimate(mean, None), None, None, None)
    if np.ptp(differences) <= rounding:
        interval, deviation = Estimate(mean, 0.0 if mean == 0 else None), 0.0
    else:
        interval, deviation = estimate(differences, rule=rule), float(differences.std(ddof=1))
    p_values = (_anytime if rule == "anytime" else _fixed)(differences, deviation, margin, rounding)
    return PairedTest(interval, deviation, *p_values)


def _fixed(differences: Scores, deviation: float, margin: float, rounding: float) -> tuple[float, float]:
    """The p values of no difference, and of one that is not within the margin."""
    seeds, mean = len(differences), float(differences.mean())
    if deviation == 0:
        return 1.0 if mean == 0 else 2.0 ** (1 - seeds), 2.0**-seeds if margin - abs(mean) > rounding else 1.0
    error = deviation / math.sqrt(seeds)
    p = 2 * special.stdtr(seeds - 1, -abs(mean) / error)
    return float(p), float(special.stdtr(seeds - 1, (abs(mean) - margin) / error))


def _anytime(differences: Scores, deviation: float, margin: float, rounding: float) -> tuple[float, float]:
    """The same, valid at whichever number of seeds one stops."""
    del deviation
    means = differences.cumsum() / np.arange(1, len(differences) + 1)
    evidence = log_evidence(differences, rounding=rounding)
    of_sign = evidence[np.sign(means) == np.sign(means[-1])]  # what spoke for the other direction does not count
    above = log_evidence(differences - margin, rounding=rounding)[means < margin]
    below = log_evidence(differences + margin, rounding=rounding)[means > -margin]
    return _p(of_sign), max(_p(above), _p(below))


def _p(log_evidence: np.ndarray) -> float:
    return math.exp(-max((0.0, *log_evidence.tolist())))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction: the i-th smallest of m is multiplied by m−i+1, kept monotone, capped at 1.

    A corrected p at or below the level keeps the chance of any false claim in the family below that level, however
    the tests depend on each other (they share a baseline). That holds for anytime-valid p values too, at whichever
    number of seeds one stops: each is below α at any time with a chance of at most α.

    References:
        Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6, 1979.
    """
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return tuple(corrected)
