"""Executors of this machine: one thread of this process, or processes that die with it."""

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, ParamSpec, TypeVar

import torch

from structpred.blame import told
from structpred.engine import worker
from structpred.errors import RunError

P = ParamSpec("P")
T = TypeVar("T")
GUARD = 'a script that starts worker processes needs if __name__ == "__main__":'


class WorkerDied(UserWarning):
    """A worker died; its run resumes on another one from the last checkpoint."""


class WorkerLost(RunError):
    """The worker of a call died before the call returned; the same call may be made again."""


@contextmanager
def local_executor(count: int) -> Iterator[Executor]:
    """One thread of this process, or several processes of one thread each, for the time of a block."""
    with in_this_process() if count == 1 else ProcessExecutor(count) as executor:
        yield executor


@contextmanager
def in_this_process() -> Iterator[Executor]:
    """A thread of this process, so that components need not be importable elsewhere: those of a notebook are not."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the data, which this process has read and warned of before
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(threads)
            worker.forget_data()


class ProcessExecutor(Executor):
    """Processes of one thread each, which die with this one.

    A process that dies fails the call that it was at with `WorkerLost` and no other; a new process replaces it.

    Args:
        count: the most processes at once; each begins with the first call that needs it.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count)
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue a call; function, arguments and result are pickled."""
        return self._threads.submit(self._call, pickle.dumps((fn, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once they have ended their calls."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().end()

    def _call(self, call: bytes) -> Any:
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = _Process()
        succeeded, value = process.call(call)
        self._idle.put(process)
        if succeeded:
            return value
        raise value


class _Process:
    """A process that makes one call after the other."""

    def __init__(self) -> None:
        context = _start_method()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, dict(os.environ)), daemon=True)
        with ignore_sigint_in_children():
            self._process.start()
        theirs.close()  # or its end would not be noticed here
        try:
            self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._death("while it started") from None

    def call(self, call: bytes) -> tuple[bool, Any]:
        """Whether the call succeeded, and its value or its exception.

        Raises:
            WorkerLost: the process died.
        """
        try:
            self._pipe.send_bytes(call)
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._death("during a run") from None
        succeeded, value = pickle.loads(answer)
        return succeeded, value

    def end(self) -> None:
        """Let it end, and wait until it has."""
        self._pipe.close()
        self._process.join()

    def _death(self, when: str) -> RunError:
        self._pipe.close()
        self._process.join()
        code = self._process.exitcode or 0
        how = f"a worker process died {when} with exit code {code}"
        if code > 0 and when == "while it started":  # as the next would
            return RunError(f"{how}; {GUARD}")
        return WorkerLost(how)


_LONGEST_FOLDER = 70
"""Characters of the temporary folder's path that leave room for a socket's name: the system allows 108 in all."""


def _start_method() -> ForkServerContext | SpawnContext:
    """On Linux every worker is a fork of one small process that has imported PyTorch: that takes seconds, a fork none.

    Nothing has run in that process but imports, so no lock or thread of the driver is copied. Elsewhere workers are
    spawned: the system libraries of macOS do not stand a fork.
    """
    if sys.platform != "linux" or len(tempfile.gettempdir()) > _LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "structpred.objectives", "structpred.tasks"])
    return context


def _serve(pipe: Connection, environment: dict[str, str]) -> None:
    """The life of a worker process."""
    os.environ.clear()  # that of the first worker's time, where the process is a fork
    os.environ.update(environment)
    worker.begin()
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe, or is dead
        pipe.send_bytes(b"ready")
        while True:
            pipe.send_bytes(answer(pipe.recv_bytes()))


def answer(call: bytes) -> bytes:
    """Make a pickled call; returns, pickled, whether it succeeded, and its value or a `RunError` that says why not."""
    try:
        function, args, kwargs = pickle.loads(call)
        return pickle.dumps((True, function(*args, **kwargs)))
    except RunError as error:
        return pickle.dumps((False, RunError(str(error))))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of any class, which the parent may not be able to read
        return pickle.dumps((False, RunError(told(error))))


@contextmanager
def ignore_sigint_in_children() -> Iterator[None]:
    """Block SIGINT while spawning, so that workers inherit the mask: the driver is what stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
