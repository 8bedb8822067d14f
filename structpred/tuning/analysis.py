"""Which trials the data can tell from the best one, and where the best value of a parameter may lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from scipy import special

from structpred.statistics import LEVEL
from structpred.tuning.outcomes import Outcome, Result

Verdict = Literal["interior", "tied", "few", "at the edge", "outermost", "cannot tell", "no noise known"]
NEAR = 0.1
"""A value is near an end of its range within this share of the range, on the range's own scale."""
ENOUGH = 5
"""Different values that must have been tried before an end of the range is called too narrow."""


@dataclass(frozen=True)
class Noise:
    """How much the metric varies from seed to seed at the same parameters.

    Attributes:
        deviation: pooled standard deviation within trials.
        freedom: its degrees of freedom.
    """

    deviation: float
    freedom: int


def noise(outcomes: Sequence[Outcome]) -> Noise | None:
    """Pooled over the trials that ran under two seeds or more; None where there are none, or nothing varies."""
    groups = [each.fresh for each in outcomes if len(each.fresh) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(float(np.var(group)) * len(group) for group in groups)
    return Noise(math.sqrt(squares / freedom), freedom) if squares > 0 else None


@dataclass(frozen=True)
class Optimum:
    """Where the best value of a number lies.

    Attributes:
        parameter: its name.
        best: the value of the best trial.
        low, high: the smallest and the largest value of a trial that is not shown to be worse than the best; None
            where nothing tells how much seeds matter.
        ends: the range searched.
        tried: the smallest and the largest value of a finished trial.
        verdict: ``"interior"`` where trials on both sides are shown to be worse, so that the ends of the range are
            ruled out as far as they were tried; else ``"tied"`` where trials of different values score the same as the
            best; ``"few"`` where the best value is the outermost of few; ``"at the edge"`` where it is the outermost
            and near an end of the range; ``"outermost"`` where it is far from both ends; ``"no noise known"`` where
            nothing tells how much seeds matter; ``"cannot tell"`` otherwise.
    """

    parameter: str
    best: float
    low: float | None
    high: float | None
    ends: tuple[float, float]
    tried: tuple[float, float]
    verdict: Verdict


def threshold(best: Outcome, other: Outcome, seen: Noise, compared: int) -> float:
    """How much worse than the best a trial must be to count as shown.

    t(1 − 5 %/m; ν) · s · √(1/n + 1/n'), with s and ν of the noise within trials and m trials compared with the best
    (Bonferroni), one-sided. If the seeds of the best did not choose it, the chance of any false claim is below 5 %.
    """
    quantile = float(special.stdtrit(seen.freedom, 1 - LEVEL / max(compared, 1)))
    return quantile * seen.deviation * math.sqrt(1 / len(best.fresh) + 1 / len(other.fresh))


def not_worse(result: Result) -> tuple[Outcome, ...] | None:
    """The trials that are not shown to be worse than the best, itself included; None where no noise is known."""
    seen, finished, best = noise(result.finished), result.finished, result.best
    if seen is None or best is None:
        return None
    sign = -1 if result.metric.higher_is_better else 1
    return tuple(
        each
        for each in finished
        if sign * (each.mean - best.mean) <= threshold(best, each, seen, len(finished) - 1) or each is best
    )


def optimum(result: Result, parameter: str) -> Optimum | None:
    """The best value of a numeric parameter; None before any trial has finished."""
    best, kept = result.best, not_worse(result)
    tried = [float(each.parameters[parameter]) for each in result.finished if parameter in each.parameters]
    if best is None or parameter not in best.parameters or not tried:
        return None
    distribution = result.distributions[parameter]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    value, ends = float(best.parameters[parameter]), (float(distribution.low), float(distribution.high))
    near = None if kept is None else [float(e.parameters[parameter]) for e in kept if parameter in e.parameters]
    low, high = (None, None) if near is None else (min(near), max(near))
    found = Optimum(parameter, value, low, high, ends, (min(tried), max(tried)), "cannot tell")
    return replace(found, verdict=_verdict(found, result, distribution, len(set(tried))))


def _verdict(
    found: Optimum, result: Result, distribution: FloatDistribution | IntDistribution, different: int
) -> Verdict:
    first, last = found.tried
    known = found.low is not None and found.high is not None
    if found.low is not None and found.high is not None and first < found.low and found.high < last:
        return "interior"
    if len({each.parameters.get(found.parameter) for each in result.tied}) > 1:
        return "tied"
    if found.best in (first, last):
        if different < ENOUGH:
            return "few"
        place = position(found.best, distribution)
        near = (found.best == first and place <= NEAR) or (found.best == last and place >= 1 - NEAR)
        return "at the edge" if near else "outermost"
    return "cannot tell" if known else "no noise known"


def position(value: float, distribution: FloatDistribution | IntDistribution) -> float:
    """Where a value lies in its range, from 0 at the low end to 1 at the high one, on the range's own scale."""
    scale = math.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return (scale(value) - low) / (high - low) if high > low else 0.0
