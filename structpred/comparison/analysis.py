"""The numbers of a comparison: one row per arm, and a test for each pair of arms that the design names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from structpred.comparison.design import Design, Pair
from structpred.results import Measure, RunResult
from structpred.statistics import (
    LEVEL,
    MARGIN,
    Estimate,
    PairedTest,
    Rule,
    Scores,
    detectable_difference,
    estimate,
    fewest_seeds,
    holm,
    paired_test,
    seeds_for_equivalence,
    seeds_needed,
)

Verdict = Literal["better", "worse", "equivalent", "undecided", "same in every seed", "one seed: no claim"]


@dataclass(frozen=True)
class Contrast:
    """An arm against another, its reference, on one test metric.

    Attributes:
        difference: arm minus reference, paired by seed.
        p: two-sided p value of no difference; None with one seed.
        corrected_p: Holm-corrected over all pairs that are tested; None with one seed.
        margin: the largest difference that counts as none, δ.
        equivalence_p: p value of a difference of δ or more; None with one seed.
        corrected_equivalence_p: Holm-corrected over the same pairs; None with one seed.
        constant: the difference is the same in every seed, so that no t test exists (see `paired_test`).
        verdict: what may be said at the 5 % level after the correction. A difference that is shown is called better or
            worse also where it is shown to be within the margin.
        seeds_to_decide: at how many seeds in all either verdict comes with 80 % power, were the difference and its
            spread as observed: by the anytime-valid test, since seeds would be added after a look, at Holm's strictest
            level (5 % over the number of pairs). None for more than 1,000, with one seed, or once there is a verdict.
        detectable: the difference that the present seeds find with 80 % power at that level by the test in use; None
            where the differences have no spread to go by, or the seeds are fewer than `fewest_seeds`.
    """

    difference: Estimate
    p: float | None
    corrected_p: float | None
    margin: float
    equivalence_p: float | None
    corrected_equivalence_p: float | None
    constant: bool
    verdict: Verdict
    seeds_to_decide: int | None
    detectable: float | None

    @property
    def within(self) -> bool:
        """True where the difference is shown to be within ±margin."""
        return self.corrected_equivalence_p is not None and self.corrected_equivalence_p <= LEVEL

    @property
    def decided(self) -> bool:
        """True if the verdict needs no further seeds."""
        return self.verdict in ("better", "worse") or self.within

    @property
    def words(self) -> str:
        """The verdict in words."""
        return f"within ±{self.margin:g}" if self.verdict == "equivalent" else self.verdict


@dataclass(frozen=True)
class Row:
    """An arm in the table of one metric.

    Attributes:
        arm: its name.
        dev, test: mean score and interval, in percent.
        reference: the arm that it is compared with; None for a baseline.
        contrast: the arm against its reference on test; None for a baseline.
        seconds, cpu_seconds: means per run.
        relative_seconds, relative_cpu_seconds: the same over the baseline's; None where the baseline took no time.
    """

    arm: str
    dev: Estimate
    test: Estimate
    reference: str | None
    contrast: Contrast | None
    seconds: float
    cpu_seconds: float
    relative_seconds: float | None
    relative_cpu_seconds: float | None

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return "baseline" if self.contrast is None else self.contrast.words


Results = Mapping[str, tuple[RunResult, ...]]


def scores(runs: Sequence[RunResult], split: str, metric: str) -> Scores:
    """One score per run, in percent."""
    return np.array([run.scores[split][metric] for run in runs], dtype=float)


def rows(results: Results, baseline: str, metric: Measure, design: Design) -> tuple[Row, ...]:
    """The table of one metric, arms in their order."""
    tested = tests(results, baseline, metric, design)
    reference_of = design.references(list(results), baseline)
    seconds = {arm: _mean(run.seconds for run in runs) for arm, runs in results.items()}
    cpu_seconds = {arm: _mean(run.cpu_seconds for run in runs) for arm, runs in results.items()}
    table = []
    for arm, runs in results.items():
        reference = reference_of.get(arm)
        table.append(
            Row(
                arm=arm,
                dev=estimate(scores(runs, "dev", metric.name), rule=design.rule),
                test=estimate(scores(runs, "test", metric.name), rule=design.rule),
                reference=reference,
                contrast=None if reference is None else tested[arm, reference],
                seconds=seconds[arm],
                cpu_seconds=cpu_seconds[arm],
                relative_seconds=_ratio(seconds[arm], seconds[baseline]),
                relative_cpu_seconds=_ratio(cpu_seconds[arm], cpu_seconds[baseline]),
            )
        )
    return tuple(table)


def tests(results: Results, baseline: str, metric: Measure, design: Design) -> dict[Pair, Contrast]:
    """Every pair that the design names, on one metric."""
    return contrasts(
        {arm: scores(runs, "test", metric.name) for arm, runs in results.items()},
        design.family(list(results), baseline),
        higher_is_better=metric.higher_is_better,
        margin=design.margin(metric.name),
        rule=design.rule,
    )


def mean_ranks(results: Results, metric: Measure) -> dict[str, float]:
    """The mean over seeds of each arm's rank on test: 1 is the best, and arms that tie share their ranks' mean."""
    table = np.array([scores(runs, "test", metric.name) for runs in results.values()])
    costs = -table if metric.higher_is_better else table
    others, own = costs[np.newaxis], costs[:, np.newaxis]  # SciPy has ranks as well, but takes a second to import
    ranks = 0.5 + (others < own).sum(axis=1) + (others == own).sum(axis=1) / 2
    return dict(zip(results, ranks.mean(axis=1).tolist(), strict=True))


def contrasts(
    arms: Mapping[str, Scores],
    pairs: Sequence[Pair],
    *,
    higher_is_better: bool,
    margin: float = MARGIN,
    rule: Rule = "fixed",
) -> dict[Pair, Contrast]:
    """Pairs of arms tested for a difference and for equivalence, each with Holm's correction over all pairs."""
    tested = {pair: paired_test(arms[pair[0]], arms[pair[1]], margin=margin, rule=rule) for pair in pairs}
    corrected = _corrected({pair: test.p for pair, test in tested.items()})
    equivalence = _corrected({pair: test.equivalence_p for pair, test in tested.items()})
    better, level = 1.0 if higher_is_better else -1.0, LEVEL / max(1, len(tested))
    found = {}
    for pair, test in tested.items():
        seeds, constant = len(arms[pair[0]]), test.deviation == 0
        verdict = _verdict(better * test.difference.mean, corrected[pair], equivalence[pair], constant=constant)
        found[pair] = Contrast(
            difference=test.difference,
            p=test.p,
            corrected_p=corrected[pair],
            margin=margin,
            equivalence_p=test.equivalence_p,
            corrected_equivalence_p=equivalence[pair],
            constant=constant,
            verdict=verdict,
            seeds_to_decide=_seeds_to_decide(test, margin, level) if verdict == "undecided" else None,
            detectable=_detectable(test, seeds, level, rule),
        )
    return found


def _corrected(p_values: Mapping[Pair, float | None]) -> dict[Pair, float | None]:
    defined = {pair: p for pair, p in p_values.items() if p is not None}
    return dict.fromkeys(p_values) | dict(zip(defined, holm(list(defined.values())), strict=True))


def _seeds_to_decide(test: PairedTest, margin: float, level: float) -> int | None:
    mean, spread = test.difference.mean, test.deviation
    assert spread is not None
    either = (
        seeds_needed(mean, spread, level=level, rule="anytime"),
        seeds_for_equivalence(mean, spread, margin, level=level, rule="anytime"),
    )
    return min((seeds for seeds in either if seeds is not None), default=None)


def _detectable(test: PairedTest, seeds: int, level: float, rule: Rule) -> float | None:
    if not test.deviation or seeds < fewest_seeds(level, rule):
        return None
    return detectable_difference(test.deviation, seeds, level=level, rule=rule)


def _verdict(gain: float, p: float | None, equivalence_p: float | None, *, constant: bool) -> Verdict:
    if p is None or equivalence_p is None:
        return "one seed: no claim"
    if constant and gain == 0:
        return "same in every seed"
    if p <= LEVEL:
        return "better" if gain > 0 else "worse"
    return "equivalent" if equivalence_p <= LEVEL else "undecided"


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _ratio(value: float, reference: float) -> float | None:
    return value / reference if reference > 0 else None
