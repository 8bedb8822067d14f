"""Local executors: one thread of this process, or processes that die with it."""

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
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, ParamSpec, TypeVar

import torch

from structpred.blame import error_message
from structpred.engine import worker
from structpred.errors import RunError

P = ParamSpec("P")
T = TypeVar("T")
GUARD = 'a script that starts worker processes needs if __name__ == "__main__":'


class WorkerDied(UserWarning):
    """A worker died; its run resumes on another one from the last checkpoint."""


class WorkerLost(RunError):
    """The worker died before the call returned; the same call may be made again."""


def local_executor(count: int) -> AbstractContextManager[Executor]:
    """One thread of this process, or several single-threaded processes."""
    return in_this_process() if count == 1 else ProcessExecutor(count)


@contextmanager
def in_this_process() -> Iterator[Executor]:
    """A thread of this process, for components that other processes cannot import, such as those of a notebook."""
    threads = torch.get_num_threads()
    pool = _OneThread()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # this process has given them already
        try:
            yield pool
        finally:
            try:
                pool.end()
            finally:
                torch.set_num_threads(threads)
                worker.forget_data()


class _OneThread(ThreadPoolExecutor):
    """One thread, which uses one processor, and an end that survives Ctrl-C.

    Ctrl-C cannot stop a thread, and Python may abort if one still runs PyTorch when it exits. In Python 3.11 a join
    that Ctrl-C interrupts marks the thread as finished, so `end` waits for its calls before it joins.
    """

    def __init__(self) -> None:
        super().__init__(1, initializer=torch.set_num_threads, initargs=(1,))
        self._calls: list[Future[Any]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Submit a call."""
        self._calls = [call for call in self._calls if not call.done()]
        self._calls.append(call := super().submit(fn, *args, **kwargs))
        return call

    def end(self) -> None:
        """Cancel the calls that have not begun, and wait for the one that has.

        Training ends after its step once it is told to stop. A Ctrl-C during the wait is raised when that is over; a
        second one is raised at once and leaves the thread running, in case the step never ends.
        """
        self.shutdown(wait=False, cancel_futures=True)
        begun = [call for call in self._calls if not call.cancelled()]  # nothing ever marks a cancelled one as done
        try:
            wait(begun)
        except KeyboardInterrupt:
            wait(begun)
            raise
        self.shutdown(wait=True)


class ProcessExecutor(Executor):
    """Single-threaded processes that die with this one.

    If a process dies, only its own call fails, with `WorkerLost`; a new process replaces it.

    Args:
        count: the maximum number of processes; each starts with the first call that needs it.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count)
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Submit a call; function, arguments and result are pickled."""
        return self._threads.submit(self._call, pickle.dumps((fn, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once their calls have returned."""
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
    """A process that executes one call after the other."""

    def __init__(self) -> None:
        context = _start_method()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, dict(os.environ)), daemon=True)
        with ignore_sigint_in_children():
            self._process.start()
        theirs.close()  # or its death would not be noticed here
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
        """Let the process end, and wait for it."""
        self._pipe.close()
        self._process.join()

    def _death(self, when: str) -> RunError:
        self._pipe.close()
        self._process.join()
        code = self._process.exitcode or 0
        how = f"a worker process died {when} with exit code {code}"
        if code > 0 and when == "while it started":  # the next one would fail the same way
            return RunError(f"{how}; {GUARD}")
        return WorkerLost(how)


_LONGEST_FOLDER = 70
"""Characters of the temporary folder's path that leave room for a socket's name, of 108 that the OS allows."""


def _start_method() -> ForkServerContext | SpawnContext:
    """On Linux, fork workers from one small process that has imported what takes seconds; else spawn them.

    That process has done nothing but imports, so no lock or thread of the driver is copied. The system libraries of
    macOS are not safe to fork.
    """
    if sys.platform != "linux" or len(tempfile.gettempdir()) > _LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "lightning_fabric", "structpred.objectives", "structpred.tasks"])
    return context


def _serve(pipe: Connection, environment: dict[str, str]) -> None:
    """The main loop of a worker process."""
    os.environ.clear()  # a fork has the environment of when the first worker started
    os.environ.update(environment)
    worker.begin()
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe or died
        pipe.send_bytes(b"ready")
        while True:
            pipe.send_bytes(answer(pipe.recv_bytes()))


def answer(call: bytes) -> bytes:
    """Execute a pickled call; returns, pickled, whether it succeeded and its value or a `RunError`."""
    try:
        function, args, kwargs = pickle.loads(call)
        return pickle.dumps((True, function(*args, **kwargs)))
    except RunError as error:
        return pickle.dumps((False, RunError(str(error))))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent may not be able to unpickle it
        return pickle.dumps((False, RunError(error_message(error))))


@contextmanager
def ignore_sigint_in_children() -> Iterator[None]:
    """Block SIGINT while spawning, so that workers inherit the mask: the driver is what stops them.

    Python has one fork server for a process. If this starts it, all that is forked from it later inherits the mask, a
    user's own children too; they hear Ctrl-C again after ``signal.pthread_sigmask(SIG_UNBLOCK, {SIGINT})``.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signal as it starts, which the first process would bring about
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
