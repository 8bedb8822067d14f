"""Tests over the test examples, from the per-example statistics that every run keeps."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from structpred.comparison.design import Pair
from structpred.comparison.plan import Plan
from structpred.errors import ConfigError
from structpred.metrics import Counts, score
from structpred.results import stored
from structpred.runs.folder import read_arrays
from structpred.statistics import (
    CrossedTest,
    ExamplesTest,
    over_examples_of_pairs,
    over_seeds_and_examples_of_pairs,
)

Found = TypeVar("Found")
Tests = Callable[[Mapping[str, Sequence[Counts]], Sequence[Pair], Callable[[np.ndarray], float]], dict[Pair, Found]]


def of_examples(plan: Plan) -> tuple[dict[Pair, ExamplesTest], dict[Pair, CrossedTest]]:
    """Every pair of a finished comparison on its first metric: over the test examples, and over seeds and examples.

    Nothing where a run kept no statistics of the metric, as for one that was chosen later, or where the metric makes no
    number of some of the examples alone: what over seeds is tested needs neither.
    """
    counts = _counts(plan)
    both = _tests(plan, counts, over_seeds_and_examples_of_pairs)
    alone = _tests(plan, counts, over_examples_of_pairs)
    return alone, {pair: test for pair, test in both.items() if test is not None}


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


def _tests(plan: Plan, counts: dict[str, list[Counts]] | None, tests: Tests[Found]) -> dict[Pair, Found]:
    metric = next(iter(plan.arms.values())).reported[0]
    if counts is None:
        return {}

    def scored(totals: np.ndarray) -> float:
        return score(metric, totals[np.newaxis])

    try:
        return tests(counts, plan.design.family(list(plan.arms), plan.baseline), scored)
    except ConfigError:
        return {}
