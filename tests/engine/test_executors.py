"""Processes that die alone, with their parent, or not at all."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import torch

from structpred.engine import executors
from structpred.engine.executors import ProcessExecutor, WorkerLost, local_executor
from structpred.errors import RunError
from tests.support.processes import alive


def square(number: int) -> int:
    return number * number


class Unreadable(Exception):
    """An exception that no other process can read."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


@pytest.mark.slow
def test_calls_are_made_in_processes_and_a_death_fails_one_call_only() -> None:
    with ProcessExecutor(2) as executor:
        assert os.getpid() not in {executor.submit(os.getpid).result() for _ in range(2)}
        assert list(executor.map(square, range(5))) == [0, 1, 4, 9, 16]
        lost, kept = executor.submit(kill_oneself), executor.submit(square, 5)
        with pytest.raises(WorkerLost, match="a worker process died during a run with exit code -9"):
            lost.result()
        assert kept.result() == 25
        assert executor.submit(square, 6).result() == 36, "another process replaces it"
        for kind, said in (
            ("unreadable", "Unreadable in line .*: 1 and 2"),
            ("ours", "expected"),
            ("exit", "SystemExit"),
        ):
            with pytest.raises(RunError, match=said):
                executor.submit(fail, kind).result()
        pids = {executor.submit(os.getpid).result() for _ in range(4)}
    assert not any(map(alive, pids)), "they end with the executor"


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(kind: str) -> None:
    raise {"unreadable": Unreadable(1, 2), "ours": RunError("expected"), "exit": SystemExit(3)}[kind]


UNGUARDED = """
from structpred.engine.executors import ProcessExecutor
from tests.engine.test_executors import square

with ProcessExecutor(2) as executor:
    print(executor.submit(square, 3).result())
"""
ORPHANS = """
import os, sys, time
from structpred.engine.executors import ProcessExecutor
from tests.engine.test_executors import square

if __name__ == "__main__":
    executor = ProcessExecutor(2)
    busy, idle = executor.submit(time.sleep, 1.0), executor.submit(os.getpid)
    print(idle.result(), flush=True)
    os.kill(os.getpid(), 9)
"""
FIRST = """
from structpred.engine.executors import ProcessExecutor
from tests.engine.test_executors import blocked

if __name__ == "__main__":
    with ProcessExecutor(1) as executor:
        print(executor.submit(blocked).result())
"""


def run(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    (folder / "script.py").write_text(script, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    ended = run(UNGUARDED, tmp_path)
    assert 'exit code 1; a script that starts worker processes needs if __name__ == "__main__":' in ended.stderr


def blocked() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked here")
def test_ctrl_c_does_not_reach_the_first_worker_of_a_driver_either(tmp_path: Path) -> None:
    assert run(FIRST, tmp_path).stdout == "True\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in Linux's /proc")
def test_processes_die_with_their_parent(tmp_path: Path) -> None:
    ended = run(ORPHANS, tmp_path)
    assert ended.returncode == -signal.SIGKILL
    worker, until = int(ended.stdout), time.monotonic() + 30
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)


def test_one_worker_is_a_thread_of_this_process() -> None:
    with local_executor(1) as executor:
        assert isinstance(executor, ThreadPoolExecutor)
        assert executor.submit(os.getpid).result() == os.getpid()
        assert executor.submit(threading.get_ident).result() != threading.get_ident()


def test_an_end_does_not_wait_for_calls_that_have_not_begun() -> None:
    begun = threading.Event()

    def work() -> None:
        begun.set()
        time.sleep(0.1)

    calls: list[Future[None]] = []

    def end() -> None:
        with local_executor(1) as executor:
            calls.extend([executor.submit(work), executor.submit(work)])
            assert begun.wait(10)

    waiting = threading.Thread(target=end, daemon=True)
    waiting.start()
    waiting.join(20)
    assert not waiting.is_alive()
    assert [call.cancelled() for call in calls] == [False, True]
    assert calls[0].done()


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt also in tests that a shell runs in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
@pytest.mark.parametrize(("count", "before"), [(1, ["work"]), (2, [])])
def test_a_second_ctrl_c_waits_for_the_thread_and_a_third_leaves_it_behind(
    count: int, before: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many presses while the end waits, after the first one, which told training to stop."""
    begun, presses, go_on, waits = threading.Event(), threading.Event(), threading.Event(), threading.Semaphore(0)
    done: list[str] = []
    plain = wait

    def announced(calls: list[Future[None]]) -> object:
        waits.release()
        return plain(calls)

    def work() -> None:
        begun.set()
        assert go_on.wait(10)
        done.append("work")

    def press() -> None:
        for _ in range(count):
            assert waits.acquire(timeout=10)
            time.sleep(0.2)  # a signal just before the wait begins does not end it
            os.kill(os.getpid(), signal.SIGINT)
        presses.set()
        if count == 1:
            go_on.set()

    def trained(calls: list[Future[None]]) -> None:
        with local_executor(1) as executor:
            calls.append(executor.submit(work))
            assert begun.wait(10)  # a call that has not begun is cancelled
            threading.Thread(target=press).start()
            raise RuntimeError  # as training that was told to stop by the first

    monkeypatch.setattr(executors, "wait", announced)
    set_before = torch.get_num_threads()
    threads = threading.active_count()
    calls: list[Future[None]] = []
    with pytest.raises(KeyboardInterrupt):
        trained(calls)
    assert done == before
    assert torch.get_num_threads() == set_before
    go_on.set()
    calls[0].result(timeout=10)
    assert presses.wait(10)
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads
