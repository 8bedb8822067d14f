"""Means over tasks of what runs have measured, for a macro-average."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from structpred.config import digest
from structpred.results import Certainty, RunResult

Scores = Mapping[str, Mapping[str, float]]
"""By split and metric."""


def mean_run(runs: Sequence[RunResult]) -> RunResult:
    """The mean over tasks of the runs of one seed, as a run; it has no epochs."""

    def of(number: Callable[[RunResult], float]) -> float:
        return float(np.mean([number(run) for run in runs]))

    return replace(
        runs[0],
        identity=digest([run.identity for run in runs]),
        scores=_mean_scores([run.scores for run in runs]),
        signatures={metric: _alike([run.signatures.get(metric) for run in runs]) for metric in runs[0].signatures},
        best_epoch=0,
        steps=round(of(lambda run: run.steps)),
        seconds=of(lambda run: run.seconds),
        cpu_seconds=of(lambda run: run.cpu_seconds),
        tokens_per_second=of(lambda run: run.tokens_per_second),
        device=_alike([run.device for run in runs]),
        history=(),
        skipped=sum(run.skipped for run in runs),
        trainer=min(run.trainer for run in runs),
        processes=max(run.processes for run in runs),
        draws=any(run.draws for run in runs),
        length_ratios={},
        certainty=_mean_certainty([run.certainty for run in runs]),
    )


def _mean_scores(every: Sequence[Scores]) -> dict[str, dict[str, float]]:
    """The means of ``scores[split][metric]``."""
    return {
        split: {metric: float(np.mean([scores[split][metric] for scores in every])) for metric in found}
        for split, found in every[0].items()
    }


def mean_ensembles(every: Sequence[Mapping[str, Scores]]) -> dict[str, Scores]:
    """The mean scores of each arm's ensembles; empty where a task has none."""
    return {arm: _mean_scores([each[arm] for each in every]) for arm in every[0]} if all(every) else {}


def _mean_certainty(every: Sequence[Certainty | None]) -> Certainty | None:
    """The means of what all have measured, and the examples of all; None where a task measured nothing."""
    found = [each for each in every if each is not None]
    if len(found) < len(every):
        return None

    def of(name: str) -> float | None:
        values = [getattr(each, name) for each in found]
        return None if None in values else float(np.mean(values))

    return Certainty(
        examples=sum(each.examples for each in found),
        labels=of("labels"),
        outputs=of("outputs"),
        entropy=of("entropy"),
        estimated=any(each.estimated for each in found),
    )


def _alike(values: Sequence[str | None]) -> str:
    """What all tasks have, or everything that one of them has."""
    return " or ".join(dict.fromkeys(value or "not recorded" for value in values))
