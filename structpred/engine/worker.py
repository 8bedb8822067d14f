"""What a worker does, wherever it is: train a run, or call a function, until that is no longer wanted."""

import multiprocessing
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from structpred.blame import out_of_memory, told
from structpred.engine.coordination import ProgressFile, expiry
from structpred.errors import CodeError, Interrupted, RunError, StructpredError
from structpred.experiment import Experiment
from structpred.files import described, write_atomically
from structpred.runs import Folder, train, when_free
from structpred.task import Splits, Task, loaded
from structpred.training.monitoring import Progress

T = TypeVar("T")
_turn = threading.Lock()
"""Held while a run is trained: runs in threads take turns, because PyTorch's random state is the process's."""
_orphaned: Callable[[], bool] = lambda: False  # noqa: E731 - replaced in our own processes by `begin`
_last_read: list[tuple[Path, Task, Splits, float]] = []
"""The data of the last call, and whose permit it had: the runs of a driver mostly share their task."""


@dataclass(frozen=True)
class Request:
    """What a worker is asked for.

    Attributes:
        experiment: what to run.
        root: the folder of run folders.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        folder: where the driver looks for the run.
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
        failure: why it failed, as a sentence; empty where it did not.
        stopped: it was interrupted and has written its checkpoint.
        machine: the failure is the machine's, such as a full disk, and not the experiment's.
    """

    failure: str = ""
    stopped: bool = False
    machine: bool = False


def begin() -> None:
    """Set up a process of our own: one thread, and no runs once the driver is dead."""
    global _orphaned
    driver = multiprocessing.parent_process()
    assert driver is not None, "only a process that multiprocessing has started is set up"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # the parent has read the same data and given the same warnings
    _orphaned = lambda: not driver.is_alive()  # noqa: E731


def forget_data() -> None:
    """Release the data of the last call."""
    _last_read.clear()


def train_run(request: Request) -> Outcome:
    """Train a run, or wait for another process that trains it; every failure becomes a sentence."""
    stopping = _stopping(request.permit)
    observer = ProgressFile(request.folder)
    with _turn:
        if stopping():  # while it waited for its turn
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
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of any class, which the driver may not be able to read
            return failed(error, request.folder)
    if made.folder.path.name != request.folder.path.name:
        return Outcome(
            f"{made.folder.path}: the worker trained this run instead of {request.folder.path}, because its files of "
            "code or data are not those of the driver; start its process again, and let both see the same files"
        )
    return Outcome()


def call(function: Callable[..., T], permit: Path, task: Task, *arguments: object) -> T:
    """Call a function with a task's data, the seconds that reading them took, and whether to stop.

    Args:
        function: called as ``function(splits, seconds, stopping, *arguments)``.
        permit: as in `Request`.
        task: whose data it needs.
        arguments: more arguments.

    Raises:
        RunError: it failed; or it was stopped.
    """
    with _turn:
        try:
            return function(*_read(task, permit), _stopping(permit), *arguments)
        except (Exception, SystemExit) as error:
            raise RunError(told(error)) from error


def failed(error: BaseException, folder: Folder) -> Outcome:
    """A failure as a sentence; the traceback of one that nobody foresaw is kept in the run's folder."""
    if isinstance(error, StructpredError) and not isinstance(error, CodeError):
        return Outcome(str(error))
    if out_of_memory(error):
        said = " ".join(str(error).split())
        return Outcome(f"out of memory: {said[:200]}" if said else "out of memory")
    if isinstance(error, OSError):
        return Outcome(described(error), machine=True)
    folder.path.mkdir(parents=True, exist_ok=True)
    place = write_atomically(folder.traceback, "".join(traceback.format_exception(error)))
    said = str(error) if isinstance(error, CodeError) else told(error)
    return Outcome(f"{' '.join(said.split())} (traceback in {place})")


def _stopping(permit: Path) -> Callable[[], bool]:
    withdrawn = expiry(permit)
    return lambda: _orphaned() or withdrawn()


def _read(task: Task, permit: Path) -> tuple[Splits, float]:
    """A task's data and the seconds that reading them took, once for each driver: the files may change in between."""
    if not _last_read or _last_read[0][:2] != (permit.parent, task):
        began = time.monotonic()
        splits = loaded(task)
        _last_read[:] = [(permit.parent, task, splits, time.monotonic() - began)]
    return _last_read[0][2:]
