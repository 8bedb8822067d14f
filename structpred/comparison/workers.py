"""Processes that train runs, and that never outlive who started them."""

import multiprocessing
import os
import signal
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from structpred.blame import told
from structpred.comparison.estimate import rehearsed
from structpred.comparison.plan import PlannedRun, ProgressFile
from structpred.errors import Busy, CodeError, Interrupted, RunError, StructpredError
from structpred.experiment import Experiment
from structpred.files import write_atomically
from structpred.forecast import Cost
from structpred.running import WAIT, train
from structpred.runs import Folder
from structpred.task import Splits, Task, loaded
from structpred.training.progress import Observer, Progress
from structpred.training.tallies import Every

_asked_to_stop: Callable[[], bool] = lambda: False  # noqa: E731 - replaced in our own workers by _begin
_busy = threading.Lock()
"""Held while a run is trained: runs in threads take turns, because PyTorch's random state is the process's."""
_last_read: list[tuple[Task, Splits, float]] = []
"""The data of the last run or rehearsal: all arms of a comparison share their task."""
LOOK = 1.0
"""Seconds between looks at whether a comparison on somebody else's executor is still there."""


@dataclass(frozen=True)
class Workers:
    """Where the runs of one comparison are trained.

    Attributes:
        executor: takes the runs.
        sign: a file that is there as long as the comparison is, for workers that it cannot tell to stop; None for our
            own.
        stop: set when the comparison ends, for a thread of this process; None for other workers.
    """

    executor: Executor
    sign: Path | None = None
    stop: threading.Event | None = None

    def submit(self, run: PlannedRun, root: Path, device: str) -> Future[None]:
        """Queue a run; the places it is told of do not depend on where its worker was started."""
        run.folder.progress.unlink(missing_ok=True)  # an interrupted run's, which would be shown as this one's
        folder = Folder(run.folder.path.resolve())
        with deaf_children():
            return self.executor.submit(_train, run.experiment, root.resolve(), device, folder, self.sign, self.stop)

    def rehearse(self, run: PlannedRun, device: str) -> Future[Cost]:
        """Queue a rehearsal of a run: what it should cost."""
        with deaf_children():
            return self.executor.submit(_rehearse, run.experiment, device, run.start, self.sign, self.stop)


@contextmanager
def workers(given: Executor | None, count: int, root: Path) -> Iterator[Workers]:
    """The executor given, or processes of our own of one thread each; a single worker is a thread of this process.

    When the block fails (Ctrl-C), the runs under way write a checkpoint and end, and our own processes are waited for.
    """
    if given is not None:
        with _sign_of_life(root.resolve()) as sign:
            yield Workers(given, sign)
        return
    if count == 1:
        with _in_this_process() as chosen:
            yield chosen
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(count, context, _begin, (stop, os.getpid()))
    try:
        yield Workers(pool)
    except BaseException:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _in_this_process() -> Iterator[Workers]:
    """One thread, so that components need not be importable elsewhere, as those of a notebook are not."""
    stop, threads = threading.Event(), torch.get_num_threads()
    _last_read.clear()
    pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the data, which this process has read and warned of before
        try:
            yield Workers(pool, stop=stop)
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)
            _last_read.clear()


@contextmanager
def _sign_of_life(root: Path) -> Iterator[Path]:
    root.mkdir(parents=True, exist_ok=True)
    sign = root / f".comparing-{uuid.uuid4().hex}"
    sign.touch()
    try:
        yield sign
    finally:
        sign.unlink(missing_ok=True)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, not even while they import: this process tells them to stop."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stopping(sign: Path | None, stop: threading.Event | None) -> Callable[[], bool]:
    """Tells whether the comparison has ended in the meantime."""
    look = Every(LOOK)

    def stopping() -> bool:
        told_to = _asked_to_stop() or (stop is not None and stop.is_set())
        return told_to or (sign is not None and look.due() and not sign.exists())

    return stopping


@contextmanager
def _taking_turns(sign: Path | None, stop: threading.Event | None) -> Iterator[None]:
    """Have the random state of this process to oneself; one of our own workers that is interrupted is no more."""
    with _busy:
        try:
            yield
        except (Interrupted, KeyboardInterrupt):
            if sign is None and stop is None:
                os._exit(1)  # a pool that ends may have lost the lock of its queues: do not go back to them
            raise


def _rehearse(
    experiment: Experiment, device: str, start: Folder | None, sign: Path | None, stop: threading.Event | None
) -> Cost:
    """What a run should cost on this worker.

    Raises:
        RunError: it cannot be rehearsed; the run itself will say why.
    """
    with _taking_turns(sign, stop):
        try:
            splits, reading = _read(experiment.task)
            return replace(rehearsed(experiment, splits, device, start, _stopping(sign, stop)), reading=reading)
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:  # of any class, which another process might not be able to read
            raise RunError(told(error)) from error


def _read(task: Task) -> tuple[Splits, float]:
    """A task's data and the seconds that reading them takes; the same task as the last one's is not read again."""
    if not _last_read or _last_read[0][0] != task:
        began = time.monotonic()
        splits = loaded(task)
        _last_read[:] = [(task, splits, time.monotonic() - began)]
    return _last_read[0][1:]


def _train(
    experiment: Experiment, root: Path, device: str, folder: Folder, sign: Path | None, stop: threading.Event | None
) -> None:
    """Train one run, unless the comparison has ended in the meantime."""
    with _taking_turns(sign, stop):
        if sign is not None:  # somebody else's workers may outlive the comparison, and data may change until the next
            _last_read.clear()
        try:
            splits, _ = _read(experiment.task)
            made = _train_or_wait(experiment, splits, root, device, ProgressFile(folder), _stopping(sign, stop))
        except CodeError as error:
            raise _mistake_in_code(error, folder.path) from error
        except (Interrupted, StructpredError, OSError, MemoryError, torch.OutOfMemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise _mistake_in_code(error, folder.path) from error
    if made.path.name != folder.path.name:
        raise RunError(
            f"{made.path}: the worker trained this run instead of {folder.path}, because its files of code or data are "
            "not those of the comparison; start its process again, and let both see the same files"
        )


def _train_or_wait(
    experiment: Experiment,
    splits: Splits,
    root: Path,
    device: str,
    observer: Observer,
    stopping: Callable[[], bool],
) -> Folder:
    """Train, or wait for another process at the same run, such as one that a cluster took for dead."""
    while not stopping():
        try:
            run = train(experiment, splits=splits, root=root, device=device, observer=observer, stopping=stopping)
            return run.folder
        except Busy:
            observer(Progress("waiting for another process to train it"))
            time.sleep(WAIT)
    raise Interrupted


def _mistake_in_code(error: BaseException, folder: Path) -> RunError:
    """A component failed in a way nobody foresaw: its author needs the traceback, on a line of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    place = write_atomically(Folder(folder).traceback, "".join(traceback.format_exception(error)))
    return RunError(f"{error if isinstance(error, CodeError) else told(error)} (traceback in {place})")


def _begin(stop: Event, parent: int) -> None:
    """Set a worker up: one thread, and an end when the parent says so or is no more."""
    global _asked_to_stop
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # the parent has read the same data and said the same
    _asked_to_stop = lambda: stop.is_set() or os.getppid() != parent  # noqa: E731
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once its parent was killed; a run under way writes its checkpoint first."""
    while os.getppid() == parent:
        time.sleep(0.5)
    with _busy:
        os._exit(1)
