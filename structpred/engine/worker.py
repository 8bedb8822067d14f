"""The work of a worker on any machine: train a run or call a function for as long as its permit exists."""

import multiprocessing
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from structpred.blame import error_message, out_of_memory
from structpred.engine.coordination import ProgressFile, expiry
from structpred.errors import CodeError, Interrupted, RunError, StructpredError
from structpred.experiment import Experiment
from structpred.files import os_error_message, write_atomically
from structpred.runs import Folder, train, when_free
from structpred.task import Splits, Task, loaded
from structpred.training.monitoring import Progress
from structpred.training.process import turn

T = TypeVar("T")
_orphaned: Callable[[], bool] = lambda: False  # noqa: E731 - replaced by `begin` in our own processes
_last_read: list[tuple[Path, Task, Splits, float]] = []
"""The data of the last call, by driver and task: most runs of a driver share their task."""


@dataclass(frozen=True)
class Request:
    """A request to train a run.

    Attributes:
        experiment: what to train.
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        folder: the run folder that the driver expects.
        permit: a file that exists while the run is wanted.
    """

    experiment: Experiment
    root: Path
    device: str
    folder: Folder
    permit: Path


@dataclass(frozen=True)
class Outcome:
    """How a run ended on a worker.

    Attributes:
        failure: the reason of a failure as a message; empty if it did not fail.
        stopped: it was interrupted and has written a checkpoint.
        machine: the machine failed, as with a full disk, not the experiment.
    """

    failure: str = ""
    stopped: bool = False
    machine: bool = False


def begin() -> None:
    """Set up a worker process: one thread, and no work once the driver is dead."""
    global _orphaned
    driver = multiprocessing.parent_process()
    assert driver is not None, "expected a process that multiprocessing started"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # the driver has read the same data and warned already
    _orphaned = lambda: not driver.is_alive()  # noqa: E731


def forget_data() -> None:
    """Release the data of the last call."""
    _last_read.clear()


def train_run(request: Request) -> Outcome:
    """Train a run, or wait for another process that trains it; every failure becomes a message."""
    stopping = _stopping(request.permit)
    observer = ProgressFile(request.folder)
    with turn:
        if stopping():  # while waiting for its turn
            return Outcome(stopped=True)
        try:
            splits, _ = _read(request.experiment.task, request.permit)
            made = when_free(
                lambda: train(
                    request.experiment,
                    splits=splits,
                    root=request.root,
                    device=request.device,
                    observer=observer,
                    stopping=stopping,
                ),
                waiting=lambda: observer(Progress("waiting for another process to train it")),
                stopping=stopping,
            )
        except Interrupted:
            return Outcome(stopped=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the driver may not be able to unpickle it
            return failed(error, request.folder)
    if made.folder.path.name != request.folder.path.name:
        return Outcome(
            f"{made.folder.path}: the worker trained this run instead of {request.folder.path}, because its code or "
            "data differ from the driver's; restart the worker, and let both see the same files"
        )
    return Outcome()


def call(function: Callable[..., T], permit: Path, task: Task, *arguments: object) -> T:
    """Call a function with a task's data, the seconds that reading them took, and a function that says when to stop.

    Args:
        function: called as ``function(splits, seconds, stopping, *arguments)``.
        permit: as in `Request`.
        task: the task whose data it needs.
        arguments: further arguments.

    Raises:
        RunError: it failed or was stopped.
    """
    with turn:
        try:
            return function(*_read(task, permit), _stopping(permit), *arguments)
        except (Exception, SystemExit) as error:
            raise RunError(error_message(error)) from error


def failed(error: BaseException, folder: Folder) -> Outcome:
    """A failure as a message; the traceback of an unexpected one is kept in the run's folder."""
    if isinstance(error, StructpredError) and not isinstance(error, CodeError):
        return Outcome(str(error))
    if out_of_memory(error):
        said = " ".join(str(error).split())
        return Outcome(f"out of memory: {said[:200]}" if said else "out of memory")
    if isinstance(error, OSError):
        return Outcome(os_error_message(error), machine=True)
    folder.path.mkdir(parents=True, exist_ok=True)
    place = write_atomically(folder.traceback, "".join(traceback.format_exception(error)))
    said = str(error) if isinstance(error, CodeError) else error_message(error)
    return Outcome(f"{' '.join(said.split())} (traceback in {place})")


def _stopping(permit: Path) -> Callable[[], bool]:
    withdrawn = expiry(permit)
    return lambda: _orphaned() or withdrawn()


def _read(task: Task, permit: Path) -> tuple[Splits, float]:
    """A task's data and the seconds that reading them took; read once per driver, as files may change in between."""
    if not _last_read or _last_read[0][:2] != (permit.parent, task):
        began = time.monotonic()
        splits = loaded(task)
        _last_read[:] = [(permit.parent, task, splits, time.monotonic() - began)]
    return _last_read[0][2:]
