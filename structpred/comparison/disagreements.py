"""The examples on which the models of two arms differ, read from their run folders."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from structpred.comparison.findings import ComparisonResult
from structpred.errors import ConfigError, RunError
from structpred.metrics import Metric, score
from structpred.registry import nearest
from structpred.results import stored
from structpred.runs.folder import Folder, read_arrays
from structpred.runs.run import Run, Split
from structpred.text import Outcome
from structpred.values import coerce


@dataclass(frozen=True)
class Disagreement:
    """One example and the outputs of two models for it.

    Attributes:
        source: the input.
        references: the correct outputs.
        outputs: of the one and of the other model.
        scores: of the two outputs on the report's first metric, in percent.
        gain: how much better the other output is: positive where the other model scores better.
        number: the place of the example in its split, from 1.
    """

    source: str
    references: tuple[str, ...]
    outputs: tuple[str, str]
    scores: tuple[float, float]
    gain: float
    number: int


def between(
    report: ComparisonResult, arms: tuple[str, str], split: Split, seed: int | None, root: Path
) -> list[Disagreement]:
    """The examples on which two arms differ; see `Report.disagreements`."""
    coerce(split, Split, "split")
    for arm in arms:
        if arm not in report.arms:
            raise ConfigError(f"expected one of the arms, but got {arm!r}; {nearest(arm, list(report.arms))}")
    seed = report.seeds[0] if seed is None else seed
    if seed not in report.seeds:
        raise ConfigError(f"expected one of the seeds {', '.join(map(str, report.seeds))}, but got {seed!r}")
    runs = [_run(report, arm, seed, root) for arm in arms]
    metric = _metric(report, runs[0])
    one, other = (_scored(run, metric, split) for run in runs)
    if [(each.source, each.references) for each, _ in one] != [(each.source, each.references) for each, _ in other]:
        raise RunError(
            f"{runs[0].folder.path} and {runs[1].folder.path} predicted different {split} examples, so they cannot be "
            "compared example by example"
        )
    sign = 1 if metric.higher_is_better else -1
    found = [
        Disagreement(
            source=mine.source,
            references=mine.references,
            outputs=(mine.prediction, theirs.prediction),
            scores=(my_score, their_score),
            gain=sign * (their_score - my_score),
            number=number,
        )
        for number, ((mine, my_score), (theirs, their_score)) in enumerate(zip(one, other, strict=True), 1)
        if mine.prediction != theirs.prediction
    ]
    return sorted(found, key=lambda each: -each.gain)


def _run(report: ComparisonResult, arm: str, seed: int, root: Path) -> Run:
    identity = report.results[arm][report.seeds.index(seed)].identity
    folder = Folder(root / identity[:16])
    if not folder.path.is_dir():
        raise RunError(f"{arm}, seed {seed}: expected its run folder {folder.path}, but there is none; give its root=")
    run = Run.load(folder.path)
    if run.result.identity != identity:
        raise RunError(f"{arm}, seed {seed}: {folder.path} holds another run than the report's; give another root=")
    return run


def _metric(report: ComparisonResult, run: Run) -> Metric:
    """The report's first metric as one that can score: the report's own, or the task's metric of that name."""
    first = report.metrics[0]
    if isinstance(first, Metric):
        return first
    metric = stored(first, {name: each for each in run.experiment.scored for name in (*each.former, each.name)})
    if metric is None:
        raise ConfigError(
            f"{first.name} is stored as numbers only and cannot score single examples; give its class to "
            "Report.read(folder, Experiment, metrics)"
        )
    return metric


def _scored(run: Run, metric: Metric, split: Split) -> list[tuple[Outcome, float]]:
    """Every example with the score of its own output."""
    rows, counts = run.predictions(split), stored(metric, read_arrays(run.folder.counts), f"{split}/")
    if counts is None or len(counts) != len(rows):
        raise RunError(
            f"{run.folder.path} keeps no {metric.name} of every {split} example; compare on a metric of its task"
        )
    return [(row, score(metric, each[np.newaxis].astype(float))) for row, each in zip(rows, counts, strict=True)]
