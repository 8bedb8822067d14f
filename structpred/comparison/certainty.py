"""The section of a report on how certain the models are: calibration, and entropy."""

from collections.abc import Sequence

import numpy as np

from structpred.comparison.findings import ComparisonResult
from structpred.report.document import Column, Section, Sentences, Table
from structpred.results import Certainty
from structpred.training.certainty import BINS

_COLUMNS = {
    "labels": "calibration error of labels (%)",
    "outputs": "calibration error of outputs (%)",
    "entropy": "entropy (nats a symbol)",
}


def sections(report: ComparisonResult) -> tuple[Section, ...]:
    """The section; empty if no run has measured its model's certainty."""
    found = {arm: [run.certainty for run in runs if run.certainty is not None] for arm, runs in report.results.items()}
    every = [each for runs in found.values() for each in runs]
    if not every:
        return ()
    shown = [name for name in _COLUMNS if any(getattr(each, name) is not None for each in every)]
    columns = (Column("arm", numeric=False), *(Column(_COLUMNS[name]) for name in shown))
    rows = tuple((arm, *(_mean(found[arm], name, len(report.seeds)) for name in shown)) for arm in report.arms)
    return (Section("How certain the models are", (Table(columns, rows), Sentences(_notes(every)))),)


def _mean(runs: Sequence[Certainty], name: str, seeds: int) -> str:
    """The mean over all seeds; empty if a run does not have the value."""
    values = [value for run in runs if (value := getattr(run, name)) is not None]
    if len(values) < seeds:
        return ""
    digits = 3 if name == "entropy" else 2
    return f"{float(np.mean(values)):.{digits}f}"


def _notes(every: Sequence[Certainty]) -> tuple[str, ...]:
    most = max(each.examples for each in every)
    how = {each.estimated for each in every if each.entropy is not None}
    entropy = {
        frozenset({True}): "It is estimated from outputs drawn from the model.",
        frozenset({False}): "It is exact.",
    }.get(frozenset(how), "It is exact for taggers and chains, and estimated from drawn outputs for decoders.")
    return (
        f"Means over seeds, on {most:,} test examples. The expected calibration error is the gap between the "
        "probability of a prediction and how often such predictions are right, averaged over predictions in "
        f"{BINS} equal bins of probability (Naeini et al. 2015; Guo et al. 2017); it comes out too high with few "
        "predictions. It is descriptive, not tested: an objective may well make probabilities flat or sharp on "
        "purpose.",
        "Labels are the most probable ones at each position, by their marginals; for a decoder, the most probable next "
        "symbol after those of the reference, the end included. Outputs are those that were scored, with their whole "
        "probability; one is right if it equals a reference.",
        f"The entropy is that of the distribution over whole outputs, divided by their number of symbols. {entropy}",
    )
