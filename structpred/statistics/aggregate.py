"""What several tasks come to, after Agarwal et al. 2021 (arXiv 2108.13264), whose library is rliable.

Scores are tables ``[tasks, seeds]`` in which every task counts the same. Intervals come from the stratified bootstrap:
seeds are drawn with replacement in each task by itself, so that they hold for new seeds on *these* tasks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Table = Float[np.ndarray, "tasks seeds"]
Tables = Float[np.ndarray, "*resamples tasks seeds"]
Values = Float[np.ndarray, "*resamples"]

TRIALS = 2000


@dataclass(frozen=True)
class Aggregate:
    """A number over tasks and seeds with its 95 % interval by the stratified bootstrap, percentiles."""

    value: float
    low: float
    high: float

    @classmethod
    def of(
        cls, statistic: Callable[..., np.ndarray], *tables: Table, trials: int = TRIALS, seed: int = 0
    ) -> "Aggregate":
        """A statistic of one table, or of several whose seeds are paired and drawn together.

        Args:
            statistic: takes tables ``[..., tasks, seeds]`` and returns one number for each, ``[...]``.
            tables: the scores.
            trials: resamples.
            seed: of the resamples.
        """
        tasks, seeds = tables[0].shape
        draws = np.random.default_rng(seed).integers(seeds, size=(trials, tasks, seeds))
        rows = np.arange(tasks)[:, np.newaxis]
        drawn = statistic(*(table[rows, draws] for table in tables))
        low, high = np.quantile(drawn, (0.025, 0.975))
        return cls(float(statistic(*tables)), float(low), float(high))


def interquartile_mean(table: Tables) -> Values:
    """The mean of the middle half of all runs: less moved by outliers than the mean, by more runs than the median.

    Examples:
        >>> float(interquartile_mean(np.array([[1.0, 2.0, 3.0, 100.0], [0.0, 2.0, 3.0, 4.0]])))
        2.5
    """
    from scipy import stats  # takes a second to import, and few reports need it

    return np.asarray(stats.trim_mean(table.reshape(*table.shape[:-2], -1), 0.25, axis=-1))


def improvement(table: Tables, baseline: Tables) -> Values:
    """The chance that a run has a higher score than one of the baseline on the same task, ties counting half.

    The mean over tasks of the Mann–Whitney statistic over the number of pairs of runs.
    """
    pairs = table[..., :, np.newaxis] - baseline[..., np.newaxis, :]
    return np.asarray(np.mean((pairs > 0) + (pairs == 0) / 2, (-3, -2, -1)))


def performance_profile(table: Table, thresholds: Float[np.ndarray, " thresholds"]) -> Float[np.ndarray, " thresholds"]:
    """The share of all runs whose score is above each threshold."""
    return np.asarray((table.reshape(-1, 1) > thresholds).mean(0))
