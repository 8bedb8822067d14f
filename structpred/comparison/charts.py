"""The numbers behind a comparison's figures, from which the page draws interactive ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from structpred.comparison.analysis import Row
from structpred.comparison.findings import ComparisonResult
from structpred.comparison.material import COUNTED, mean_cost
from structpred.config import Config
from structpred.experiment import Experiment
from structpred.report.document import Curve, Curves, Dot, Strip, Tone
from structpred.results import Measure, RunResult, direction
from structpred.statistics import Estimate
from structpred.statistics.aggregate import performance_profile

TONES: dict[str, Tone] = {"better": "good", "worse": "bad"}
EPOCH, SECONDS, STEP = "epoch", "seconds of training", "optimiser step"
CPU_SECONDS, REWARD_CALLS = "CPU-seconds of training", "reward calls"


def strip(
    values: Mapping[str, Sequence[float]],
    estimates: Mapping[str, Estimate],
    label: str,
    line: float,
    seeds: Sequence[int],
    *,
    notes: Mapping[str, Row] | None = None,
    title: str = "",
    reversed_axis: bool = False,
) -> Strip:
    """Rows of dots.

    Args:
        values: one a seed for every arm, from the top.
        estimates: mean and interval of each.
        label: what the axis measures.
        line: where the dashed line stands.
        seeds: the seeds.
        notes: rows of the table whose verdicts stand below the names.
        title: of the strip.
        reversed_axis: True if smaller numbers are better and go to the right.
    """
    rows = tuple(_dot(arm, each, estimates[arm], (notes or {}).get(arm)) for arm, each in values.items())
    return Strip(label, line, rows, tuple(seeds), title, reversed_axis)


def _dot(arm: str, values: Sequence[float], interval: Estimate, row: Row | None) -> Dot:
    low, high = interval.span or (None, None)
    note = "" if row is None else row.verdict
    return Dot(arm, tuple(map(float, values)), float(interval.mean), low, high, note, TONES.get(note, ""))


def curves(report: ComparisonResult, metric: Measure) -> Curves | None:
    """Dev scores after each epoch; None where some arm has no history.

    A curve of an arm that starts from another run begins where that one ended.
    """
    drawn = [_curve(report, arm, metric) for arm in report.arms]
    if not all(drawn):
        return None
    found = [curve for curve in drawn if curve is not None]
    axes = (EPOCH, STEP, SECONDS, CPU_SECONDS, REWARD_CALLS)
    common = [axis for axis in axes if all(axis in curve.x for curve in found)]
    if not any(any(curve.x.get(REWARD_CALLS, ())) for curve in found):  # no arm has called a reward
        common = [axis for axis in common if axis != REWARD_CALLS]
    kept = tuple(
        Curve(each.arm, each.mean, each.low, each.high, {axis: each.x[axis] for axis in common}) for each in found
    )
    return Curves(f"dev {metric.name} (%)", kept)


def _curve(report: ComparisonResult, arm: str, metric: Measure) -> Curve | None:
    runs = report.results[arm]
    scores = [[epoch.dev[metric.name] for epoch in run.history if metric.name in epoch.dev] for run in runs]
    shortest = min(map(len, scores))
    if not shortest:
        return None
    table = np.array([each[:shortest] for each in scores], dtype=float)
    before = before_training(report, arm)
    x = {EPOCH: [run.history[i].epoch + before.epochs for run in runs[:1] for i in range(shortest)]}
    if before.seconds is not None:
        seconds = np.array([[epoch.seconds for epoch in run.history[:shortest]] for run in runs])
        x[SECONDS] = (seconds.mean(0) + before.seconds).tolist()
    if before.steps is not None and (steps := _steps(report.arms[arm], runs)) is not None:
        x[STEP] = [before.steps + steps * (i + 1) for i in range(shortest)]
    for axis, name, start in (
        (CPU_SECONDS, "cpu_seconds", before.cpu_seconds),
        (REWARD_CALLS, "reward_calls", before.reward_calls),
    ):
        costs = [[epoch.costs.get(name) for epoch in run.history[:shortest]] for run in runs]
        if start is not None and not any(cost is None for each in costs for cost in each):
            x[axis] = (np.array(costs, dtype=float).mean(0) + start).tolist()
    columns = (table.mean(0), table.min(0), table.max(0))
    mean, low, high = (tuple(column.tolist()) for column in columns)
    return Curve(arm, mean, low, high, {axis: tuple(map(float, places)) for axis, places in x.items()})


def profiles(tables: Mapping[str, np.ndarray], metric: Measure) -> Curves:
    """For every arm the share of its runs, over tasks and seeds, that are better than each score.

    Args:
        tables: test scores ``[tasks, seeds]`` of every arm.
        metric: what the scores are.
    """
    sign = 1 if metric.higher_is_better else -1
    every = np.concatenate([table.ravel() for table in tables.values()])
    places = np.linspace(every.min(), every.max(), 200)
    axis = f"test {metric.name} (%), {direction(metric)}"
    found = {arm: performance_profile(sign * table, sign * places).tolist() for arm, table in tables.items()}
    x = {axis: tuple(places.tolist())}
    lines = tuple(Curve(arm, tuple(share), tuple(share), tuple(share), x) for arm, share in found.items())
    return Curves("share of runs that are better", lines)


def _steps(config: Config, runs: Sequence[RunResult]) -> int | None:
    """Steps per epoch, the same in every epoch; None if unknown because a budget cut an epoch short."""
    if isinstance(config, Experiment) and (config.trainer.max_steps or config.trainer.max_seconds):
        return None
    found = {divmod(run.steps, len(run.history)) for run in runs}
    (each, rest), *others = found
    return each if not rest and not others else None


@dataclass(frozen=True)
class Before:
    """What had been trained before an arm's own training began: the runs that it starts from.

    Attributes:
        epochs: passes over the data.
        steps: optimiser steps; None if the starts are not arms of this comparison, so its results do not say.
        seconds: of their training and evaluation, the mean over seeds; None likewise.
        cpu_seconds: the same of the CPU.
        reward_calls, decoder_passes: the mean over seeds; None where that is not known.
    """

    epochs: int
    steps: int | None
    seconds: float | None
    cpu_seconds: float | None
    reward_calls: float | None = None
    decoder_passes: float | None = None


def before_training(report: ComparisonResult, arm: str) -> Before:
    """What was trained before an arm's own training, as stored, or else from the arms that it starts from."""
    config = report.arms[arm]
    ancestors = list(config.ancestors()) if isinstance(config, Experiment) else []
    epochs = ancestors[0].epochs if ancestors else 0
    if report.material is not None and arm in report.material.starts:
        begun = report.material.starts[arm]
        counts = (begun.reward_calls, begun.decoder_passes)
        return Before(epochs, begun.steps, begun.seconds, begun.cpu_seconds, *counts)
    names = [name for start in ancestors for name, each in report.arms.items() if _same_but_for_the_seed(start, each)]
    if len(names) < len(ancestors):
        return Before(epochs, None, None, None)
    every = [report.results[name] for name in names]
    return Before(
        epochs,
        sum(runs[0].steps for runs in every),
        sum(float(np.mean([run.seconds for run in runs])) for runs in every),
        sum(float(np.mean([run.cpu_seconds for run in runs])) for runs in every),
        *(mean_cost([run for runs in every for run in runs], cost, len(report.seeds)) for cost in COUNTED),
    )


def _same_but_for_the_seed(one: Experiment | None, other: Config | None) -> bool:
    """Whether they are equal under one seed, without making and checking an experiment for each pair of arms."""
    if not isinstance(one, Experiment) or not isinstance(other, Experiment):
        return one is other
    names = [each.name for each in fields(one) if each.name not in ("seed", "start", "start_seed")]
    equal = all(getattr(one, name) == getattr(other, name) for name in names)
    return equal and _same_but_for_the_seed(one.start, other.start)
