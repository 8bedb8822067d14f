"""From an experiment to a finished run; interrupted at any moment, the same call goes on."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from structpred.errors import Busy, Interrupted
from structpred.experiment import Experiment
from structpred.running.lock import alone, tidy
from structpred.running.making import Conditions, RunWriter
from structpred.runs import Folder, Run
from structpred.task import Splits, loaded
from structpred.training.distributed import DistributedContext
from structpred.training.evaluation import check_metrics
from structpred.training.monitoring import GivenLogger, Observer, Progress, ignore, opened
from structpred.training.trainer import signals, without_subnormals

WAIT = 0.5
"""Seconds between looks at a run that another process is training."""


def train(
    experiment: Experiment,
    *,
    root: str | Path = "runs",
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    observer: Observer = ignore,
    stopping: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 30.0,
    loggers: Sequence[GivenLogger] = (),
    splits: Splits | None = None,
) -> Run:
    """Train, choose weights on dev, score dev and test, and leave a run folder named by the run's identity.

    A finished run is returned as it is; one that was interrupted goes on from its last checkpoint and ends with the
    weights it would have had. The run that the experiment starts from, if any, is found in the same root, or trained
    there first.

    Args:
        experiment: what to run.
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        devices: how many on each machine; each has a process, which runs this same program.
        nodes: how many machines; several need a launcher such as ``torchrun`` or SLURM, and a root that all of them
            see.
        observer: told of progress.
        stopping: asked after every step; True saves a checkpoint and raises `Interrupted`.
        checkpoint_every: seconds between checkpoints.
        loggers: given numbers as training goes on, beside the run's own log: any of Lightning Fabric's, or what makes
            one of the run's folder, such as `structpred.training.tensorboard.TensorBoard`.
        splits: the task's data, where the caller has read them; `loaded` reads them by default.

    Raises:
        DataError: the task's data cannot be read.
        ConfigError: a chosen metric does not fit the task.
        Busy: another process is at this run.
        RunError: training cannot go on, or the run is there already and cannot be believed; see `Run.found`.
        Interrupted: a signal or ``stopping`` ended it early.
    """
    ranks = DistributedContext(device, devices, nodes)
    conditions = Conditions(splits or loaded(experiment.task), ranks, stopping, checkpoint_every, loggers=())
    check_metrics(experiment.metrics, conditions.splits, experiment.task)
    return _Session(Path(root), conditions).run(experiment, observer, tuple(loggers))


def when_free(training: Callable[[], Run], *, waiting: Callable[[], None], stopping: Callable[[], bool]) -> Run:
    """What a call of `train` returns, once no other process is training the same run.

    Args:
        training: the call.
        waiting: called before each wait.
        stopping: asked before each wait.

    Raises:
        Interrupted: ``stopping`` returned True.
    """
    while True:
        try:
            return training()
        except Busy:
            waiting()
            if stopping():
                raise Interrupted from None
            time.sleep(WAIT)


@dataclass(frozen=True)
class _Session:
    """Where and how a run is trained, and before it the run that it starts from."""

    root: Path
    conditions: Conditions

    def run(self, experiment: Experiment, observer: Observer, loggers: tuple[GivenLogger, ...] = ()) -> Run:
        """The finished run."""
        identity, ranks = experiment.identity(self.conditions.splits.digest), self.conditions.ranks
        folder = Folder(self.root / identity[:16])
        found = ranks.from_first(folder.finished) or not self._make(experiment, identity, folder, observer, loggers)
        run = Run.found(folder, identity, ranks.world) if found else Run.load(folder.path)
        if found and ranks.first:
            tidy(folder)
        observer(Progress("done", done=1.0))
        return run.reported_by(experiment.metrics, self.conditions.splits) if experiment.metrics else run

    def _make(
        self,
        experiment: Experiment,
        identity: str,
        folder: Folder,
        observer: Observer,
        loggers: tuple[GivenLogger, ...],
    ) -> bool:
        """Train the run; False where another process had finished it in the meantime."""
        ranks = self.conditions.ranks
        with alone(folder) if ranks.first else contextlib.nullcontext():
            finished, under_way = ranks.from_first((folder.finished, folder.checkpoint.exists()))
            if not finished:
                with signals() as signalled, without_subnormals(), torch.random.fork_rng():
                    session = self._stopping_also_when(signalled)
                    start = None if under_way else session.start(experiment, observer)
                    with opened(loggers if ranks.first else (), folder.path) as ready:
                        conditions = replace(session.conditions, loggers=ready)
                        RunWriter(experiment, identity, folder, conditions, observer, start).train()
        return not finished

    def start(self, experiment: Experiment, observer: Observer) -> Run | None:
        """The finished run that training starts from, if any; waits while another process is training it."""
        if experiment.start is None:
            return None
        start = experiment.start
        return when_free(
            lambda: self.run(start, _OfStart(observer)),
            waiting=lambda: observer(Progress("waiting for another process to train its start")),
            stopping=self.conditions.stopping,
        )

    def _stopping_also_when(self, signalled: Callable[[], bool]) -> "_Session":
        stopping = self.conditions.stopping
        return replace(self, conditions=replace(self.conditions, stopping=lambda: signalled() or stopping()))


@dataclass(frozen=True)
class _OfStart:
    """Tells of the run that training starts from: none of the training proper is done yet."""

    observer: Observer

    def __call__(self, progress: Progress) -> None:
        self.observer(replace(progress, phase=f"start, {progress.phase}", done=0.0))
