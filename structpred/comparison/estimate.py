"""How long runs will take, from finished runs or from a few steps."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import torch

from structpred.comparison.plan import PlannedRun
from structpred.distributions.protocols import Decoding
from structpred.engine.coordination import read_progress
from structpred.experiment import Experiment
from structpred.forecast import Cost, Job
from structpred.runs import Folder, Run
from structpred.task import Example, Splits
from structpred.training.data import EncodedData
from structpred.training.evaluation import DECODING_ROWS, never, score_counts, scores
from structpred.training.monitoring import ignore
from structpred.training.process import without_subnormals
from structpred.training.settings import Trainer
from structpred.training.trainer import GREEDY, Pace, Training

STEPS, FEWEST = 12, 2
"""Steps that are timed, at most and at least."""
SHARE = 0.05
"""Of the steps of a run, as many are rehearsed at most."""
SETTLING, STARTING = 14, 60
"""Steps before those that are timed: under the objective, and before them under that of a start which is not there.

What a model draws from itself is as long as references only once it knows when to end; a search needs longer for that.
"""
PATIENCE = 2.0
"""Seconds after which no further step of a kind is begun."""


def known(runs: Sequence[PlannedRun]) -> dict[str, Cost]:
    """What finished runs cost, by label of the arm; `Cost.seconds` is the median over seeds."""
    taken: dict[str, list[float]] = {}
    for run in runs:
        if run.folder.finished:
            taken.setdefault(run.label, []).append(run.found().result.seconds)
    return {label: Cost(median(seconds)) for label, seconds in taken.items()}


def jobs(todo: Sequence[PlannedRun]) -> list[Job]:
    """The remaining runs, as jobs for a forecast."""
    names = {run.folder: run.name for run in todo}
    return [
        Job(run.name, run.label, _done(run), None if run.ready or run.start is None else names.get(run.start))
        for run in todo
    ]


def _done(run: PlannedRun) -> float:
    """The fraction that an interrupted attempt has completed."""
    progress = read_progress(run.folder) if run.state == "to be resumed" else None
    return progress.done if progress is not None and progress.phase == "training" else 0.0


def rehearse(
    splits: Splits,
    reading: float,
    stopping: Callable[[], bool],
    experiment: Experiment,
    device: str,
    start: Folder | None,
) -> Cost:
    """The estimated cost of a run, as `structpred.engine.Engine.call` computes it on a worker; see `rehearsed`."""
    return replace(rehearsed(experiment, splits, device, start, stopping), reading=reading)


def rehearsed(
    experiment: Experiment,
    splits: Splits,
    device: str,
    start: Folder | None = None,
    stopping: Callable[[], bool] = never,
) -> Cost:
    """The estimated cost of a run, from a few of its steps and from decoding some dev examples.

    Args:
        experiment: what is to be run.
        splits: its data.
        device: where.
        start: the folder of the run that it starts from, if any; where that is not finished, a few steps of training
            it stand for it.
        stopping: asked after every step.

    Raises:
        Interrupted: ``stopping`` said so.
    """
    began = time.monotonic()
    prepared = EncodedData.of(splits, experiment.model)
    with torch.random.fork_rng(), without_subnormals():
        training = Training(experiment, prepared, device=device, observer=ignore)
        preparing = time.monotonic() - began
        decoding = _decoding(training, GREEDY)  # before any step: what has learnt little may end outputs at once
        _begin(training, experiment, start, device, stopping)
        steps = training.rehearse(0).steps
        part = int(SHARE * _total(experiment.trainer, steps))
        few = max(FEWEST, min(STEPS, part))
        training.rehearse(max(FEWEST, min(SETTLING, part)), most=PATIENCE, stopping=stopping)
        pace = training.rehearse(few, most=PATIENCE, stopping=stopping, measuring=True)
        testing = 2 * _decoding(training, experiment.decoding)
    seconds = _training(experiment.trainer, pace, decoding)
    return Cost(preparing + seconds + testing, testing / (preparing + seconds + testing), memory=pace.memory)


def _begin(
    training: Training,
    experiment: Experiment,
    start: Folder | None,
    device: str,
    stopping: Callable[[], bool],
) -> None:
    """Give the network weights like those that training starts from."""
    if start is not None and start.finished:
        Run.load(start.path).start(training.model)
        return
    for oldest in list(experiment.ancestors())[-1:]:
        first = Training(oldest, training.prepared, device=device, observer=ignore)
        first.rehearse(STARTING, most=PATIENCE, stopping=stopping)
        training.model.load_state_dict(first.model.state_dict())


def _total(trainer: Trainer, steps: int) -> int:
    """Steps of a run whose epochs take so many."""
    most = steps * trainer.epochs
    return most if trainer.max_steps is None else min(most, trainer.max_steps)


def _training(trainer: Trainer, pace: Pace, decoding: float) -> float:
    """Seconds of training, from the time to plan an epoch, to take a step, and to decode dev after each epoch."""
    total = _total(trainer, pace.steps)
    seconds = (pace.planning + decoding) * math.ceil(total / pace.steps) + pace.step * total
    return seconds if trainer.max_seconds is None else min(seconds, trainer.max_seconds)


def _decoding(training: Training, decoding: Decoding) -> float:
    """Seconds of decoding and scoring the dev set, from one batch of examples of middling length.

    Outputs of a network that has hardly been trained are too short or too long. Where a search takes a step for every
    symbol, its time is taken to grow with the longest output of a batch.
    """
    dev = sorted(training.prepared.splits.dev, key=_longest)
    skipped = max(0, len(dev) - DECODING_ROWS) // 2
    some = dev[skipped : skipped + DECODING_ROWS]
    metrics = training.recipe.task.metrics
    began = time.monotonic()
    outputs = training.predict([example.source for example in some], decoding)
    scores(metrics, score_counts(metrics, some, outputs))
    seconds = time.monotonic() - began
    scale = (max(map(_longest, some)) + 1) / (max(map(len, outputs)) + 1)
    return seconds * scale * len(dev) / len(some)


def _longest(example: Example) -> int:
    """Symbols of the longest reference."""
    return max(map(len, example.references))
