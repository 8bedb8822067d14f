"""The numbers of a comparison: one row an arm, each arm tested against the baseline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from structpred.results import RunResult
from structpred.statistics import (
    LEVEL,
    Estimate,
    PairedTest,
    Scores,
    detectable_difference,
    estimate,
    holm,
    paired_test,
    seeds_needed,
)

Verdict = Literal["better", "worse", "no difference shown", "same in every seed", "one seed: no claim"]


@dataclass(frozen=True)
class Contrast:
    """An arm against the baseline on one test metric.

    Attributes:
        difference: arm minus baseline, paired by seed.
        p: two-sided p value of the paired test; None with one seed.
        corrected_p: Holm-corrected over the arms compared with the baseline; None with one seed.
        constant: the difference is the same in every seed, so that no t test exists (see `paired_test`).
        verdict: what may be said at the 5 % level after the correction.
        seeds_needed: seeds for 80 % power if the difference and its spread were as observed, at Holm's strictest
            level (5 % over the number of compared arms); None for more than 1,000, or with one seed.
        detectable: the difference that the present seeds find with 80 % power at that level; None where the
            differences have no spread to go by.
    """

    difference: Estimate
    p: float | None
    corrected_p: float | None
    constant: bool
    verdict: Verdict
    seeds_needed: int | None
    detectable: float | None


@dataclass(frozen=True)
class Row:
    """An arm in the table of one metric.

    Attributes:
        arm: its name.
        dev, test: mean score and interval, in percent.
        contrast: the arm against the baseline on test; None for the baseline itself.
        seconds, cpu_seconds: means per run.
        relative_seconds, relative_cpu_seconds: the same over the baseline's; None where the baseline took no time.
    """

    arm: str
    dev: Estimate
    test: Estimate
    contrast: Contrast | None
    seconds: float
    cpu_seconds: float
    relative_seconds: float | None
    relative_cpu_seconds: float | None

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return "baseline" if self.contrast is None else self.contrast.verdict


Results = Mapping[str, tuple[RunResult, ...]]


def scores(runs: Sequence[RunResult], split: str, metric: str) -> Scores:
    """One score a run, in percent."""
    return np.array([run.scores[split][metric] for run in runs], dtype=float)


def rows(results: Results, baseline: str, metric: str, *, higher_is_better: bool) -> tuple[Row, ...]:
    """The table of one metric, arms in their order."""
    contrasts = contrast(
        {arm: scores(runs, "test", metric) for arm, runs in results.items()},
        baseline,
        higher_is_better=higher_is_better,
    )
    seconds = {arm: _mean(run.seconds for run in runs) for arm, runs in results.items()}
    cpu_seconds = {arm: _mean(run.cpu_seconds for run in runs) for arm, runs in results.items()}
    return tuple(
        Row(
            arm=arm,
            dev=estimate(scores(runs, "dev", metric)),
            test=estimate(scores(runs, "test", metric)),
            contrast=contrasts.get(arm),
            seconds=seconds[arm],
            cpu_seconds=cpu_seconds[arm],
            relative_seconds=_ratio(seconds[arm], seconds[baseline]),
            relative_cpu_seconds=_ratio(cpu_seconds[arm], cpu_seconds[baseline]),
        )
        for arm, runs in results.items()
    )


def contrast(arms: Mapping[str, Scores], baseline: str, *, higher_is_better: bool) -> dict[str, Contrast]:
    """Every arm but the baseline, tested against it, with Holm's correction over these arms."""
    tests = {arm: paired_test(values, arms[baseline]) for arm, values in arms.items() if arm != baseline}
    defined = {arm: test.p for arm, test in tests.items() if test.p is not None}
    corrected = dict(zip(defined, holm(list(defined.values())), strict=True))
    better = 1.0 if higher_is_better else -1.0
    seeds, level = len(arms[baseline]), LEVEL / max(1, len(tests))
    return {arm: _contrast(test, corrected.get(arm), better, seeds, level) for arm, test in tests.items()}


def _contrast(test: PairedTest, corrected: float | None, better: float, seeds: int, level: float) -> Contrast:
    mean, spread = test.difference.mean, test.deviation
    return Contrast(
        difference=test.difference,
        p=test.p,
        corrected_p=corrected,
        constant=spread == 0,
        verdict=_verdict(better * mean, corrected, constant=spread == 0),
        seeds_needed=None if spread is None else seeds_needed(mean, spread, level=level),
        detectable=detectable_difference(spread, seeds, level=level) if spread else None,
    )


def _verdict(gain: float, corrected: float | None, *, constant: bool) -> Verdict:
    if corrected is None:
        return "one seed: no claim"
    if constant and gain == 0:
        return "same in every seed"
    if corrected > LEVEL:
        return "no difference shown"
    return "better" if gain > 0 else "worse"


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _ratio(value: float, reference: float) -> float | None:
    return value / reference if reference > 0 else None
