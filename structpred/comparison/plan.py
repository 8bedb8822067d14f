"""What a comparison has to run, and what is there already."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from pathlib import Path
from statistics import median

import torch

from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.registry import nearest
from structpred.runs import Folder, Run
from structpred.task import Splits
from structpred.training.data import Prepared
from structpred.training.progress import Progress, ignore
from structpred.training.trainer import Training

REHEARSAL_STEPS = 12
EVALUATION_SHARE = 1.2
"""Training and evaluation together take about this many times the optimiser steps alone."""


@dataclass(frozen=True)
class PlannedRun:
    """One arm under one seed.

    Attributes:
        arm: the arm's name.
        experiment: the arm with the seed set.
        folder: where it is, or will be.
    """

    arm: str
    experiment: Experiment
    folder: Folder

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.arm}, seed {self.experiment.seed}"

    @property
    def state(self) -> str:
        """``"finished"``, ``"to be resumed"`` or ``"to be run"``."""
        if self.folder.finished:
            return "finished"
        return "to be resumed" if self.folder.checkpoint.exists() else "to be run"


@dataclass(frozen=True)
class Plan:
    """The runs of a comparison, seeds in the outer loop, so that every arm has early results.

    Attributes:
        arms: experiments by name; their own seeds are ignored.
        seeds: the seeds every arm is run under.
        baseline: the arm that others are compared with.
        splits: the data all arms share.
        runs: one for every arm and seed.
    """

    arms: Mapping[str, Experiment]
    seeds: tuple[int, ...]
    baseline: str
    splits: Splits
    runs: tuple[PlannedRun, ...]

    @classmethod
    def of(cls, arms: Mapping[str, Experiment], seeds: Sequence[int], baseline: str | None, root: Path) -> "Plan":
        """Check the arms, read the data and look up what is there.

        Raises:
            ConfigError: no arms, no seeds, arms that are equal or on different tasks or budgets, or a baseline that
                is no arm.
            DataError: the task's data cannot be read.
        """
        _check(arms, seeds, baseline)
        first = next(iter(arms))
        splits = arms[first].task.load()
        runs = []
        for seed in seeds:
            for arm, experiment in arms.items():
                seeded = replace(experiment, seed=seed)
                runs.append(PlannedRun(arm, seeded, Folder(root / seeded.identity(splits.digest)[:16])))
        return cls(arms, tuple(seeds), baseline or first, splits, tuple(runs))

    @property
    def unfinished(self) -> tuple[PlannedRun, ...]:
        """What is left to do."""
        return tuple(run for run in self.runs if not run.folder.finished)

    def seconds(self, device: str = "auto") -> dict[str, float]:
        """Estimated seconds of one run of each arm: what its finished runs took, else from a short rehearsal."""
        finished: dict[str, list[float]] = {arm: [] for arm in self.arms}
        for run in self.runs:
            if run.folder.finished:
                finished[run.arm].append(Run.load(run.folder.path).result.seconds)
        return {
            arm: median(taken) if taken else _rehearse(self.arms[arm], self.splits, device)
            for arm, taken in finished.items()
        }


def _check(arms: Mapping[str, Experiment], seeds: Sequence[int], baseline: str | None) -> None:
    if not arms:
        raise ConfigError("a comparison needs at least one arm, but got none")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"a comparison needs one seed or more, each once, but got {list(seeds)}")
    if baseline is not None and baseline not in arms:
        raise ConfigError(
            f"the baseline must be one of the arms, but got {baseline!r}; {nearest(baseline, list(arms))}"
        )
    first = next(iter(arms))
    for one, other in combinations(arms, 2):
        if replace(arms[one], seed=0) == replace(arms[other], seed=0):
            raise ConfigError(f"the arms {one!r} and {other!r} are the same experiment; leave one out or change it")
    for other, field in product(arms, ("task", "trainer")):
        if getattr(arms[other], field) != getattr(arms[first], field):
            raise ConfigError(
                f"the arms of a comparison share their {field}, but {first!r} and {other!r} differ in it; "
                "compare them in two comparisons"
            )


def _rehearse(experiment: Experiment, splits: Splits, device: str) -> float:
    """Seconds that a run would take, from a few steps of it."""
    prepared = Prepared.of(splits, experiment.model)
    with torch.random.fork_rng():
        training = Training(experiment, prepared, device=device, observer=ignore)
        training.rehearse(2)  # the first steps are slow: memory is taken, kernels are chosen
        began = time.monotonic()
        steps = training.rehearse(0)  # an epoch is planned once, draws included, however many steps are taken
        planned = time.monotonic()
        training.rehearse(REHEARSAL_STEPS)
        ended = time.monotonic()
    planning = planned - began
    step = max(ended - planned - planning, 0.0) / REHEARSAL_STEPS
    return (planning + step * steps) * experiment.trainer.epochs * EVALUATION_SHARE


class ProgressFile:
    """An observer that leaves a run's progress in its folder, for whoever watches from another process."""

    def __init__(self, folder: Folder) -> None:
        self.path = folder.progress
        self._written = 0.0

    def __call__(self, progress: Progress) -> None:
        """Write it, at most once a second."""
        now = time.monotonic()
        if now - self._written >= 1.0 or progress.phase in ("testing", "done"):
            self._written = now
            beside = self.path.with_name(
                ".progress.unfinished"
            )  # no `write_atomically`: waiting for the disk costs time
            beside.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            beside.replace(self.path)


def read_progress(folder: Folder) -> Progress | None:
    """The progress a run last wrote, if any."""
    try:
        return Progress(**json.loads(folder.progress.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there yet, or left by another version
        return None
