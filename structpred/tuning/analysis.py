"""Which trials the data can tell from the best one, and where the best value of a parameter may lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from scipy import special

from structpred.comparison.statistics import LEVEL
from structpred.tuning.outcomes import Outcome, Result

Verdict = Literal["interior", "cannot tell", "at the edge", "no noise known"]


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
        verdict: ``"interior"`` where trials on both sides are shown to be worse, so that the ends of the range are
            ruled out as far as they were tried; ``"at the edge"`` where the best trial is the outermost one;
            ``"cannot tell"`` otherwise.
    """

    parameter: str
    best: float
    low: float | None
    high: float | None
    ends: tuple[float, float]
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
    return Optimum(parameter, value, low, high, ends, _verdict(value, low, high, tried))


def _verdict(value: float, low: float | None, high: float | None, tried: Sequence[float]) -> Verdict:
    if value in (min(tried), max(tried)):
        return "at the edge"
    if low is None or high is None:
        return "no noise known"
    return "interior" if min(tried) < low and high < max(tried) else "cannot tell"
