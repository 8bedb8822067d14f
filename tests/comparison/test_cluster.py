"""A comparison on other executors: a dask cluster on this machine, one of whose workers is killed."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
import torch
from distributed import Client
from filelock import FileLock
from rich.console import Console

from structpred import Report, compare
from structpred.cli import main
from structpred.engine import clusters
from structpred.engine.clusters import NoWorkers, cluster
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.runs import Folder, train
from structpred.training import Trainer, checkpoint
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=20, batch_tokens=40),
)
ARMS = {"ML": TINY, "RML": replace(TINY, objective=RML())}


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


class Dask:
    """A scheduler and its workers, each a process of one thread; all of them end with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Dask":
        self._start("dask_scheduler", "--port", "0")
        return self

    def __exit__(self, *details: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def worker(self) -> subprocess.Popen[bytes]:
        return self._start("dask_worker", "--nthreads", "1", "--no-nanny")

    def wait_for_workers(self, count: int) -> None:
        with Client(self.address(), set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(count, timeout=240)

    def address(self) -> str:
        wait_for(self.file.exists, "the scheduler did not start")
        return str(json.loads(self.file.read_text(encoding="utf-8"))["address"])

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        common = ["--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard"]
        command = [sys.executable, "-m", f"distributed.cli.{what}", *common, *options]
        here = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=self.folder, env=os.environ | here, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process


def wait_for(condition: Any, otherwise: str) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def weights(root: Path, report: Report, arm: str) -> dict[str, torch.Tensor]:
    return checkpoint.load(Folder(root / report.results[arm][0].identity[:16]).weights)


@pytest.mark.slow(seconds=15)
def test_a_comparison_on_a_cluster_loses_nothing_when_a_worker_is_killed(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with Dask(tmp_path) as dask, ExitStack() as opened:
        with pytest.warns(NoWorkers, match="the cluster has no workers yet"):
            executor = opened.enter_context(cluster(dask.address()))
        victim, _ = dask.worker(), dask.worker()
        dask.wait_for_workers(2)

        def kill() -> None:
            wait_for(lambda: len(list(root.glob("*/record.json"))) == 2, "the runs did not begin")
            victim.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        report = compare(ARMS, seeds=(0,), root=root, executor=executor, console=quiet())
        killer.join()
        assert victim.wait() == -signal.SIGKILL
    undisturbed = train(TINY, root=tmp_path / "undisturbed")
    expected, got = checkpoint.load(undisturbed.folder.weights), weights(root, report, "ML")
    assert all(torch.equal(value, got[name]) for name, value in expected.items())
    assert not list(root.glob(".*")), "the comparison's sign of life is gone"


def test_a_run_that_another_process_is_at_is_waited_for(tmp_path: Path) -> None:
    short = {"ML": replace(TINY, trainer=Trainer(epochs=1))}
    folder = tmp_path / short["ML"].identity(TINY.task.load().digest)[:16]
    folder.mkdir()
    lock = FileLock(folder / ".lock", thread_local=False)
    lock.acquire()

    def let_go() -> None:
        wait_for(lambda: "waiting" in read(folder / "progress.json"), "nobody waits")
        lock.release()

    other = threading.Thread(target=let_go)
    other.start()
    with ThreadPoolExecutor(1) as executor:
        report = compare(short, seeds=(0,), root=tmp_path, executor=executor, console=quiet())
    other.join()
    assert len(report.results["ML"]) == 1


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


class GivesUp(Executor):
    """What becomes of a cluster's futures when its scheduler ends."""

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_runs_that_an_executor_gives_up_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"2 of 2 runs did not finish, first .*the executor cancelled this run; see whether"
    ):
        compare(ARMS, seeds=(0,), root=tmp_path, executor=GivesUp(), console=quiet())


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install structpred\[cluster\]"), cluster("tcp://127.0.0.1:1"):
        pass
    assert main(["compare", "--cluster", "tcp://127.0.0.1:1", "--workers", "2"]) == 2
    assert "leave one out" in capsys.readouterr().err


def test_where_no_scheduler_answers_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RunError, match=rf"127\.0\.0\.1:{port}: no scheduler"), cluster(f"tcp://127.0.0.1:{port}"):
        pass


@pytest.mark.parametrize("address", ["nonsense", "tcp://no.such.host.invalid:8786", "tcp://127.0.0.1:port"])
def test_an_address_that_cannot_be_is_refused_before_a_client_is_made(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed.Client", lambda *_, **__: pytest.fail("it fails late, and again as it goes"))
    with pytest.raises(RunError, match=rf"^{address}: no scheduler of a dask cluster answers there"), cluster(address):
        pytest.fail("there is none")
