"""Aggregates over tasks against enumeration and scipy."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from structpred.statistics.aggregate import Aggregate, improvement, interquartile_mean, performance_profile

TABLE = np.array([[1.0, 4.0, 2.0], [7.0, 5.0, 6.5]])
BASELINE = np.array([[2.0, 3.0, 2.0], [4.0, 8.0, 5.0]])


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    values = np.random.default_rng(0).normal(size=(5, 8))
    ordered = np.sort(values.ravel())
    assert interquartile_mean(values) == pytest.approx(ordered[10:30].mean())
    values[0, 0] = 1e9
    assert interquartile_mean(values) < 1


def test_improvement_is_the_mann_whitney_statistic_over_tasks() -> None:
    by_task = [stats.mannwhitneyu(one, other).statistic / 9 for one, other in zip(TABLE, BASELINE, strict=True)]
    assert improvement(TABLE, BASELINE) == pytest.approx(np.mean(by_task))
    assert improvement(TABLE, BASELINE) + improvement(BASELINE, TABLE) == pytest.approx(1)
    assert improvement(TABLE, TABLE) == pytest.approx(0.5)


def test_the_stratified_bootstrap_agrees_with_all_resamples() -> None:
    """3 seeds of 2 tasks have 27 · 27 resamples, all equally likely; seeds of a task stay in it."""
    every = [
        np.mean([TABLE[0, list(first)].mean(), TABLE[1, list(second)].mean()])
        for first, second in product(product(range(3), repeat=3), repeat=2)
    ]
    found = Aggregate.of(lambda table: table.mean((-2, -1)), TABLE, trials=20_000)
    assert found.value == pytest.approx(TABLE.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(every, (0.025, 0.975))), abs=0.12)


def test_paired_tables_are_drawn_together() -> None:
    """The same difference in every seed has no spread, however much the seeds differ."""
    found = Aggregate.of(lambda one, other: (one - other).mean((-2, -1)), TABLE + 1, TABLE)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_profile_is_the_share_of_runs_above() -> None:
    thresholds = np.array([0.0, 2.0, 5.0, 7.0])
    assert performance_profile(TABLE, thresholds) == pytest.approx([1, 4 / 6, 2 / 6, 0])
