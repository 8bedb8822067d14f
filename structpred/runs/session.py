"""From an experiment to a finished run. After an interruption at any moment, the same call resumes."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from structpred.errors import Busy, Interrupted
from structpred.experiment import Experiment
from structpred.files import root_of_runs
from structpred.runs.folder import Folder
from structpred.runs.lock import run_lock, tidy
from structpred.runs.run import Run
from structpred.runs.writer import Conditions, RunWriter
from structpred.task import Splits, loaded, refuse_empty
from structpred.training import checkpoint
from structpred.training.distributed import DistributedContext
from structpred.training.evaluation import check_metrics, never
from structpred.training.monitoring import GivenLogger, Observer, Progress, ignore, opened
from structpred.training.process import signals, turn, without_subnormals
from structpred.values import coerce, refuse

WAIT = 0.5
"""Seconds between checks whether another process still trains a run."""


def train(
    experiment: Experiment,
    *,
    root: str | Path = "runs",
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    observer: Observer = ignore,
    stopping: Callable[[], bool] = never,
    checkpoint_every: float = 30.0,
    loggers: Sequence[GivenLogger] = (),
    splits: Splits | None = None,
) -> Run:
    """Train, choose weights on dev, score dev and test, and write a run folder named after the run's identity.

    A finished run is loaded instead of trained again. An interrupted run resumes from its last checkpoint and ends with
    the same weights as without the interruption. If the experiment starts from another run, that run is loaded from the
    same root, or trained there first. Threads of one process take turns, because PyTorch's random state is global.

    Args:
        experiment: what to train.
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        devices: how many devices on each machine; each has a process, which runs this same program.
        nodes: how many machines; more than one needs a launcher such as ``torchrun`` or SLURM, and a root that all
            machines see.
        observer: receives progress.
        stopping: called after every step; True saves a checkpoint and raises `Interrupted`.
        checkpoint_every: seconds between checkpoints.
        loggers: receive the numbers of training besides the run's own log: any logger of Lightning Fabric, or a
            function from the run's folder to one, such as `structpred.training.monitoring.TensorBoard`.
        splits: the task's data, if the caller has read them already.

    Raises:
        DataError: the task's data cannot be read.
        ConfigError: a chosen metric does not fit the task, or an argument is something else.
        Busy: another process is training this run.
        RunError: training cannot go on, or the finished run cannot be trusted; see `Run.found`.
        Interrupted: a signal or ``stopping`` ended training early.
    """
    given: object
    for name, given, kind in (("experiment", experiment, Experiment), ("splits", splits, Splits | None)):
        if not isinstance(given, kind):
            refuse(f"the {name} to train", f"an object of {getattr(kind, '__name__', kind)}", given)
    folder = root_of_runs(root)
    coerce(checkpoint_every, float, "checkpoint_every")
    ranks = DistributedContext(device, devices, nodes)
    conditions = Conditions(splits or loaded(experiment.task), ranks, stopping, checkpoint_every, loggers=())
    refuse_empty(conditions.splits, experiment.task)
    check_metrics(experiment.metrics, conditions.splits, experiment.task)
    return _Session(folder, conditions).run(experiment, observer, tuple(loggers), processes=ranks.world)


def when_free(training: Callable[[], Run], *, waiting: Callable[[], None], stopping: Callable[[], bool]) -> Run:
    """Call ``training`` again until no other process is training the same run.

    Args:
        training: calls `train`.
        waiting: called before each wait.
        stopping: called before each wait; True gives up.

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
    """Where and how a run, and the run that it starts from, are trained."""

    root: Path
    conditions: Conditions

    def run(
        self,
        experiment: Experiment,
        observer: Observer,
        loggers: tuple[GivenLogger, ...] = (),
        *,
        processes: int | None = None,
    ) -> Run:
        """Load or train the run.

        Args:
            experiment: what is trained.
            observer: receives progress.
            loggers: receive the numbers of training.
            processes: by how many a finished run must have been trained; None for any number.
        """
        identity, ranks = experiment.identity(self.conditions.splits.digest), self.conditions.ranks
        folder = Folder(self.root / identity[:16])
        ready = ranks.from_first(folder.finished) or not self._make(experiment, identity, folder, observer, loggers)
        run = Run.found(folder, identity, processes) if ready else Run.load(folder.path)
        if ready and ranks.first:
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
        """Train the run; False if another process has finished it in the meantime."""
        ranks = self.conditions.ranks
        with turn, _locked(folder, ranks):
            finished, under_way = ranks.from_first((folder.finished, bool(checkpoint.all_of(folder.checkpoint))))
            if not finished:
                given = self.conditions.stopping
                with signals() as signalled, without_subnormals(), torch.random.fork_rng():
                    conditions = replace(self.conditions, stopping=lambda: signalled() or given())
                    start = None if under_way else replace(self, conditions=conditions).start(experiment, observer)
                    with opened(loggers if ranks.first else (), folder.path) as ready:
                        conditions = replace(conditions, loggers=ready)
                        RunWriter(experiment, identity, folder, conditions, observer, start).train()
        return not finished

    def start(self, experiment: Experiment, observer: Observer) -> Run | None:
        """Load or train the run that training starts from, if any; waits while another process trains it.

        Where it is there, it does not matter how many processes trained it: a run of several GPUs is continued on one.
        """
        if experiment.start is None:
            return None
        start = experiment.start

        def of_start(progress: Progress) -> None:  # nothing of the training proper is done yet
            observer(replace(progress, phase=f"start, {progress.phase}", done=0.0))

        return when_free(
            lambda: self.run(start, of_start),
            waiting=lambda: observer(Progress("waiting for another process to train its start")),
            stopping=self.conditions.stopping,
        )


@contextlib.contextmanager
def _locked(folder: Folder, ranks: DistributedContext) -> Iterator[None]:
    """The lock on a run's folder, which the first process of the run holds for all.

    Raises:
        Busy: in all processes alike, so that all of them wait or all of them end; another run holds the lock.
    """
    with contextlib.ExitStack() as held:
        busy = None
        if ranks.first:
            try:
                held.enter_context(run_lock(folder))
            except Busy as error:
                busy = error
        if ranks.from_first(busy is not None):
            raise busy or Busy(folder.path)
        yield
