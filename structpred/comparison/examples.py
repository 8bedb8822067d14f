"""Tests over the test examples, from the per-example statistics that every run keeps."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from structpred.comparison.design import Pair
from structpred.comparison.plan import Plan
from structpred.errors import ConfigError
from structpred.metrics import Counts, score
from structpred.results import stored
from structpred.runs.folder import read_arrays
from structpred.statistics import CrossedTest, ExamplesTest, over_examples, over_seeds_and_examples

Found = TypeVar("Found")
Test = Callable[[Sequence[Counts], Sequence[Counts], Callable[[np.ndarray], float]], Found]


def of_examples(plan: Plan) -> tuple[dict[Pair, ExamplesTest], dict[Pair, CrossedTest]]:
    """Every pair of a finished comparison on its first metric: over the test examples, and over seeds and examples.

    Nothing where a run kept no statistics of the metric, as for one that was chosen later, or where the metric makes no
    number of some of the examples alone: what over seeds is tested needs neither.
    """
    counts = _counts(plan)
    both = _tests(plan, counts, over_seeds_and_examples)
    return _tests(plan, counts, over_examples), {pair: test for pair, test in both.items() if test is not None}


def _counts(plan: Plan) -> dict[str, list[Counts]] | None:
    """By arm the statistics of the test examples, one table a seed."""
    metric = next(iter(plan.arms.values())).reported[0]
    counts: dict[str, list[Counts]] = {arm: [] for arm in plan.arms}
    for run in plan.runs:
        kept = stored(metric, read_arrays(run.folder.counts), "test/")
        if kept is None:
            return None
        counts[run.arm].append(kept.astype(float))
    return counts


def _tests(plan: Plan, counts: dict[str, list[Counts]] | None, test: Test[Found]) -> dict[Pair, Found]:
    metric = next(iter(plan.arms.values())).reported[0]
    if counts is None:
        return {}

    def scored(totals: np.ndarray) -> float:
        return score(metric, totals[np.newaxis])

    pairs = plan.design.family(list(plan.arms), plan.baseline)
    try:
        return {(one, other): test(counts[one], counts[other], scored) for one, other in pairs}
    except ConfigError:
        return {}
