"""What a trial is worth: its experiment trained under each seed, through the cache of runs."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Protocol, runtime_checkable

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FixedTrial, TrialState

from structpred.engine.progress import ProgressFile
from structpred.errors import Busy, Interrupted
from structpred.experiment import Experiment
from structpred.metrics import Metric
from structpred.protocols import Checkable
from structpred.running import WAIT, train
from structpred.runs import Folder, Run
from structpred.task import loaded
from structpred.training.progress import Progress
from structpred.tuning.slots import REASON, SCORES
from structpred.tuning.spaces import Space

RUN = "run"
"""The attribute of a trial with the folder of the run under way."""
ENOUGH = 4
"""Finished trials that it takes to call another one hopeless."""


@dataclass(frozen=True)
class Place:
    """Where trials are trained.

    Attributes:
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        stopping: asked often; True ends the run under way, with a checkpoint.
        told: called as training goes on.
    """

    root: Path
    device: str
    stopping: Callable[[], bool]
    told: Callable[[], None]


@runtime_checkable
class Evaluate(Checkable, Protocol):
    """The value of a trial; raises `optuna.TrialPruned` for one that was stopped early."""

    def __call__(self, trial: optuna.Trial, place: Place) -> float:
        """Train what the trial stands for."""


class MeanOverSeeds:
    """The mean of the dev metric over the seeds of a study.

    The dev metric after each epoch of the first seed is reported to the pruner; it is that of greedy decoding, while
    the value of a trial is that of the experiment's own decoding with the best epoch's weights.

    Args:
        space: the search space.
        seeds: what each trial is run under.
    """

    def __init__(self, space: Space, seeds: Sequence[int]) -> None:
        self.space, self.seeds = space, seeds

    def __call__(self, trial: optuna.Trial, place: Place) -> float:
        """The mean."""
        experiment = self.space(trial)
        metric = experiment.task.metrics[0]
        found: dict[int, float] = {}
        for seed in self.seeds:
            if found and hopeless(found, _finished(trial.study), metric):
                trial.set_user_attr(REASON, f"hopeless after {len(found)} of {len(self.seeds)} seeds")
                raise optuna.TrialPruned
            reports = None if found else Reports(trial, metric)
            run = Training(replace(experiment, seed=seed), trial, place, reports).run()
            found[seed] = run.result.scores["dev"][metric.name]
            trial.set_user_attr(SCORES, {str(each): value for each, value in found.items()})
        return fmean(found.values())


class OneMoreSeed:
    """The dev metric of a finished trial under one more seed; both are parameters here.

    Args:
        space: the search space.
        parameters: those of the finished trials, by number.
    """

    def __init__(self, space: Space, parameters: Mapping[int, Mapping[str, object]]) -> None:
        self.space, self.parameters = space, parameters

    def __call__(self, trial: optuna.Trial, place: Place) -> float:
        """The metric."""
        number = trial.suggest_int("trial", 0, 2**31)
        seed = trial.suggest_int("seed", 0, 2**31)
        experiment = self.space(FixedTrial(dict(self.parameters[number])))
        run = Training(replace(experiment, seed=seed), trial, place, None).run()
        return run.result.scores["dev"][experiment.task.metrics[0].name]


def hopeless(found: Mapping[int, float], others: Sequence[Mapping[int, float]], metric: Metric) -> bool:
    """True where the scores found so far are on average worse than those of half of the others under the same seeds."""
    rivals = [fmean(other[seed] for seed in found) for other in others if found.keys() <= other.keys()]
    if len(rivals) < ENOUGH:
        return False
    mean, middle = fmean(found.values()), median(rivals)
    return mean < middle if metric.higher_is_better else mean > middle


def _finished(study: optuna.Study) -> list[dict[int, float]]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [{int(seed): score for seed, score in trial.user_attrs.get(SCORES, {}).items()} for trial in trials]


class Reports:
    """A logger that hands the dev metric after each epoch to the pruner.

    Attributes:
        pruned: the epoch after which the pruner said to stop; 0 until then.
    """

    def __init__(self, trial: optuna.Trial, metric: Metric) -> None:
        self.trial, self.name = trial, f"dev/{metric.name}"
        self.pruned = 0
        self._seen: set[int] = set()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Report the end of an epoch; other entries of the log are passed over."""
        del step
        if self.name in metrics:
            self.report(int(metrics["epoch"]), metrics[self.name])

    def report(self, epoch: int, score: float | None, *, prune: bool = True) -> None:
        """Report an epoch, once."""
        if self.pruned or epoch in self._seen or score is None or not math.isfinite(score):
            return  # a pruned trial stands by the epoch that pruned it, not by what its run had reached before
        self._seen.add(epoch)
        try:
            self.trial.report(score, epoch)
            if prune and self.trial.should_prune():
                self.pruned = epoch
        except UpdateFinishedTrialError:  # it was taken away, and the lease tells the trainer so
            return


@dataclass
class Training:
    """One run of one trial."""

    experiment: Experiment
    trial: optuna.Trial
    place: Place
    reports: Reports | None

    @cached_property
    def folder(self) -> Folder:
        """Where the run is, or will be."""
        return Folder(self.place.root / self.experiment.identity(loaded(self.experiment.task).digest)[:16])

    def run(self) -> Run:
        """The finished run, trained, resumed or found; waits while another process is at it.

        Raises:
            optuna.TrialPruned: the pruner said to stop.
            Interrupted: ``stopping`` did.
        """
        self.trial.set_user_attr(RUN, self.folder.path.name)
        before = [] if self.folder.finished else epochs_logged(self.folder)
        for line in before:
            self._log(line)
        while True:
            try:
                run = self._train()
            except Busy:
                if self.place.stopping():
                    raise Interrupted from None
                time.sleep(WAIT)
            except Interrupted:
                if self._pruned() and not self.place.stopping():
                    assert self.reports is not None
                    self.trial.set_user_attr(REASON, f"pruned after epoch {self.reports.pruned}")
                    raise optuna.TrialPruned from None
                raise
            else:
                for epoch in run.result.history if self.reports is not None else ():
                    assert self.reports is not None
                    score = epoch.dev[self.experiment.task.metrics[0].name]
                    self.reports.report(epoch.epoch, score, prune=False)
                return run

    def _train(self) -> Run:
        write = ProgressFile(self.folder)

        def observe(progress: Progress) -> None:
            if self.folder.path.exists():  # not while the run that it starts from is looked for
                write(progress)
            self.place.told()

        return train(
            self.experiment,
            root=self.place.root,
            device=self.place.device,
            observer=observe,
            stopping=lambda: self._pruned() or self.place.stopping(),
            loggers=() if self.reports is None else (self.reports,),
        )

    def _pruned(self) -> bool:
        return self.reports is not None and self.reports.pruned > 0

    def _log(self, line: Mapping[str, float]) -> None:
        if self.reports is not None:
            self.reports.log_metrics(line)


def epochs_logged(folder: Folder) -> list[dict[str, float]]:
    """What an interrupted run has logged at the ends of its epochs."""
    if not folder.log.exists():
        return []
    lines = folder.log.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
