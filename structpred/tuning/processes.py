"""Worker processes on this machine, which never outlive who started them."""

import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from types import FunctionType

import torch
from optuna.storages import BaseStorage

from structpred.blame import told
from structpred.config import components
from structpred.engine.executors import ignore_sigint_in_children as deaf_children
from structpred.errors import ConfigError, Interrupted, RunError, StructpredError
from structpred.files import described
from structpred.imports import check_importable, imported, modules_to_import
from structpred.tuning.evaluation import Place
from structpred.tuning.probe import probed
from structpred.tuning.search import Search
from structpred.tuning.spaces import Space
from structpred.tuning.storage import opened
from structpred.tuning.studies import Study
from structpred.tuning.workers import work


@dataclass(frozen=True)
class Job:
    """What a worker process is told.

    Attributes:
        spaces: the search space of each study by its name.
        search: budget and rules of each study.
        storage: where studies are kept.
        root: the folder of run folders.
        device: where to train.
        lease: seconds of silence after which a worker counts as dead.
    """

    spaces: dict[str, Space]
    search: Search
    storage: str
    root: Path
    device: str
    lease: float

    def studies(self, storage: BaseStorage) -> list[Study]:
        """All studies, opened."""
        return [Study.open(name, space, self.search, storage) for name, space in self.spaces.items()]


class WorkerDied(UserWarning):
    """A worker process ended before its time."""


def run_in_processes(job: Job, count: int, show: Callable[[], None]) -> None:
    """Let processes of one thread each work on a job until it is done.

    Args:
        job: the job.
        count: how many processes.
        show: called twice a second.

    Raises:
        ConfigError: the space or a component of it cannot be sent to another process.
        RunError: a worker failed, or all of them died.
    """
    _refuse_what_cannot_be_sent(job)
    context, names = multiprocessing.get_context("spawn"), modules_to_import()
    stop = context.Event()
    crew: list[tuple[SpawnProcess, Connection]] = []
    try:
        with deaf_children():
            for _ in range(count):
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, stop, os.getpid(), theirs, names), daemon=True)
                process.start()
                theirs.close()
                crew.append((process, ours))
        while any([process.is_alive() for process, _ in crew]):  # a list: all of the dead are to be buried
            show()
            stop.wait(0.5)
    except BaseException:
        stop.set()
        for process, _ in crew:
            process.join()
        raise
    _judge(crew)


def _judge(crew: Sequence[tuple[SpawnProcess, Connection]]) -> None:
    """Say what went wrong, if anything did."""
    said = [error for _, pipe in crew if (error := _last_words(pipe))]
    if said:
        raise RunError(f"{said[0]}; finished trials are kept, and the same command goes on from here")
    died = [process.exitcode for process, _ in crew if process.exitcode != 0]
    if not died:
        return
    how = f"{len(died)} of {len(crew)} worker processes died, the first with exit code {died[0]}"
    if len(died) == len(crew):
        raise RunError(
            f"{how}; if it was for want of memory, try fewer workers; a script that tunes needs "
            'if __name__ == "__main__": ; finished trials are kept, and the same command goes on from here'
        )
    warnings.warn(f"{how}; their trials were put back and run by the others", WorkerDied, stacklevel=3)


def _last_words(pipe: Connection) -> str:
    try:
        return str(pipe.recv()) if pipe.poll() else ""
    except EOFError:
        return ""


def _refuse_what_cannot_be_sent(job: Job) -> None:
    try:
        pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"the space cannot be sent to a worker process ({error}); define it at the top of a module, or use one "
            "worker"
        ) from None
    for space in job.spaces.values():
        parts = [type(part) for part in components(probed(space)[0])]
        check_importable([space if isinstance(space, FunctionType) else type(space), *parts], "worker processes")


def _work(job: Job, stop: Event, parent: int, pipe: Connection, names: Sequence[str]) -> None:
    """The whole life of a worker process; it first imports the modules whose components the space may name."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # the parent has read the same data and said the same
    try:
        for name in names:
            imported(name)
        with opened(job.storage) as storage:
            place = Place(job.root, job.device, lambda: stop.is_set() or os.getppid() != parent, lambda: None)
            work(job.studies(storage), place, job.lease)
    except Interrupted:
        pass
    except OSError as error:
        pipe.send(described(error))
    except StructpredError as error:
        pipe.send(str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - said by the parent
        pipe.send(told(error))
