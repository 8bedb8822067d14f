"""Drive runs on an executor: submit them, watch their folders, resume those whose worker died, cancel."""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from structpred.blame import error_message
from structpred.config import components
from structpred.engine.coordination import Permits, permits, read_progress
from structpred.engine.executors import WorkerDied, WorkerLost, ignore_sigint_in_children, local_executor
from structpred.engine.worker import Outcome, Request, call, train_run
from structpred.errors import StructpredError
from structpred.experiment import Experiment
from structpred.files import os_error_message
from structpred.imports import check_importable
from structpred.runs import Folder
from structpred.task import Task
from structpred.training.distributed import Device
from structpred.training.monitoring import Progress
from structpred.values import coerce, refuse

TRIES = 5
"""A run fails once this many workers in a row have died during it without training an epoch further."""


def check_machinery(device: object, executor: object, console: object) -> None:
    """Refuse what no run could be trained on or shown by, before anything is read.

    Raises:
        ConfigError: no such kind of device, no `concurrent.futures.Executor`, or no `rich.console.Console`.
    """
    coerce(device, Device, "device")
    if not isinstance(executor, Executor | None):
        refuse("executor", "a concurrent.futures.Executor", executor)
    if not isinstance(console, Console | None):
        refuse("console", "a rich.console.Console", console)


@dataclass(eq=False)
class Handle:
    """A submitted run.

    Attributes:
        request: the request that was submitted.
        future: the current attempt.
        outcome: how the run ended; None until then.
        cancelled: the run was cancelled; its outcome will say so.
        deaths: attempts in a row whose worker died without training an epoch further.
        reached: epochs reached when a worker last died.
    """

    request: Request
    future: "Future[Outcome]"
    outcome: Outcome | None = None
    cancelled: bool = False
    deaths: int = 0
    reached: int = 0

    @property
    def folder(self) -> Folder:
        """The run's folder."""
        return self.request.folder

    def progress(self) -> Progress | None:
        """The run's last progress, if any."""
        return read_progress(self.folder)


@dataclass
class Engine:
    """Trains the runs of one driver on an executor.

    Args:
        executor: any executor of `concurrent.futures`, the caller's own included.
        issued: the permits of this driver's runs.
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    executor: Executor
    issued: Permits
    root: Path
    device: str
    under_way: list[Handle] = field(default_factory=list)
    calls: "list[Future[Any]]" = field(default_factory=list)

    def submit(self, experiment: Experiment, folder: Folder) -> Handle:
        """Submit a run that writes ``folder``."""
        with suppress(OSError):  # what stands in the way is named where the run begins
            folder.progress.unlink()  # of an interrupted attempt, which would be shown as this one's
        place = Folder(folder.path.resolve())  # workers may have another current folder
        request = Request(experiment, self.root.resolve(), self.device, place, self.issued.issue().resolve())
        handle = Handle(request, self._begin(request))
        self.under_way.append(handle)
        return handle

    def call(self, function: Callable[..., Any], task: Task, *arguments: object) -> "Future[Any]":
        """Submit a call of a function that needs a task's data; see `structpred.engine.worker.call`."""
        with ignore_sigint_in_children():
            future = self.executor.submit(call, function, self.issued.issue().resolve(), task, *arguments)
        self.calls.append(future)
        return future

    def cancel(self, handle: Handle) -> None:
        """Withdraw a run; if it is under way, it writes a checkpoint and ends."""
        handle.cancelled = True
        handle.request.permit.unlink(missing_ok=True)
        handle.future.cancel()

    def wait(self, timeout: float) -> list[Handle]:
        """The runs that have ended since the last call; waits up to ``timeout`` seconds for the first.

        If a run's worker died, the run resumes on another one, unless `TRIES` workers in a row got no epoch further.
        """
        if not self.under_way:
            time.sleep(timeout)
        wait([handle.future for handle in self.under_way], timeout, FIRST_COMPLETED)
        for handle in self.under_way:
            if handle.future.done():
                self._take(handle)
        ended = [handle for handle in self.under_way if handle.outcome is not None]
        self.under_way = [handle for handle in self.under_way if handle.outcome is None]
        for handle in ended:
            handle.request.permit.unlink(missing_ok=True)
        return ended

    def _begin(self, request: Request) -> "Future[Outcome]":
        with ignore_sigint_in_children():
            return self.executor.submit(train_run, request)

    def _take(self, handle: Handle) -> None:
        """Process the end of an attempt."""
        outcome = _outcome(handle.future)
        if handle.cancelled:
            handle.outcome = Outcome(stopped=True)
        elif isinstance(outcome, WorkerLost):
            self._resume(handle, str(outcome))
        elif outcome.stopped:  # by a signal, such as preemption on a cluster
            self._resume(handle, "a worker was told to end")
        else:
            handle.outcome = outcome

    def _resume(self, handle: Handle, how: str) -> None:
        progress = handle.progress()
        reached = 0 if progress is None else progress.epoch
        handle.deaths = 1 if reached > handle.reached else handle.deaths + 1
        handle.reached = max(reached, handle.reached)
        if handle.deaths >= TRIES:
            handle.outcome = Outcome(
                f"{TRIES} workers died while they ran it, perhaps for want of memory; try fewer workers"
            )
            return
        warnings.warn(f"{how}; {handle.folder.path.name} resumes from its last checkpoint", WorkerDied, stacklevel=4)
        handle.future = self._begin(handle.request)


def _outcome(future: "Future[Outcome]") -> Outcome | WorkerLost:
    """How an attempt ended; an executor's own exception becomes a message."""
    if future.cancelled():
        return Outcome("the executor cancelled this run; see whether the dask scheduler is still up", machine=True)
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, WorkerLost):
        return error
    if isinstance(error, OSError):
        return Outcome(os_error_message(error), machine=True)
    return Outcome(str(error) if isinstance(error, StructpredError) else error_message(error), machine=True)


@contextmanager
def open_engine(
    experiments: list[Experiment], root: Path, device: str, workers: int, executor: Executor | None = None
) -> Iterator[Engine]:
    """An engine within the block; if the block fails, runs under way write a checkpoint and end.

    Args:
        experiments: examples of the experiments to run, with a component of every class.
        root: the folder of run folders.
        device: where to train.
        workers: the number of worker processes; one worker is a thread of this process.
        executor: an executor to use instead of worker processes.

    Raises:
        ConfigError: several workers cannot import a component.
    """
    if executor is None and workers > 1:
        parts = [type(part) for experiment in experiments for part in components(experiment)]
        check_importable(dict.fromkeys(parts), f"{workers} worker processes")
    own = local_executor(workers) if executor is None else nullcontext(executor)
    with own as chosen, permits(root) as issued:
        engine = Engine(chosen, issued, root, device)
        try:
            yield engine
        except BaseException:
            for handle in engine.under_way:
                engine.cancel(handle)
            for future in engine.calls:
                future.cancel()
            raise
