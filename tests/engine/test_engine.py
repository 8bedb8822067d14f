"""Runs on executors: submitted, watched, resumed, cancelled; and the permits that say which are wanted."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from structpred.engine import Engine, Handle, WorkerDied, open_engine, worker
from structpred.engine.coordination import expiry, permits, read_epochs
from structpred.engine.driver import TRIES
from structpred.engine.executors import WorkerLost
from structpred.engine.worker import Outcome
from structpred.errors import CodeError, DataError
from structpred.experiment import Experiment
from structpred.metrics import SymbolErrorRate
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.runs import Folder, Run
from structpred.task import Splits, Task, loaded
from structpred.training import Trainer
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=8),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
ENDLESS = replace(TINY, trainer=Trainer(epochs=5000, batch_tokens=40))


def folder_of(experiment: Experiment, root: Path) -> Folder:
    return Folder(root / experiment.identity(experiment.task.load().digest)[:16])


def ended(engine: Engine, *handles: Handle) -> list[Outcome | None]:
    """How the runs have ended."""
    until = time.monotonic() + 120
    while any(handle.outcome is None for handle in handles) and time.monotonic() < until:
        engine.wait(0.1)
    return [handle.outcome for handle in handles]


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_runs_are_trained_and_their_progress_is_read_from_their_folders(tmp_path: Path) -> None:
    with open_engine([TINY], root=tmp_path, device="cpu", workers=1) as engine:
        handles = [
            engine.submit(each, folder_of(each, tmp_path)) for each in (replace(TINY, seed=seed) for seed in (0, 1))
        ]
        assert ended(engine, *handles) == [Outcome(), Outcome()]
        assert engine.wait(0.01) == [], "each is told once"
    for handle in handles:
        run, progress = Run.load(handle.folder.path), handle.progress()
        assert progress is not None
        assert progress.phase == "done"
        assert read_epochs(handle.folder, SymbolErrorRate()) == {
            each.epoch: each.dev["PER"] for each in run.result.history
        }
    assert not list(tmp_path.glob(".driving-*"))


def test_a_cancelled_run_writes_a_checkpoint_and_another_one_goes_on(tmp_path: Path) -> None:
    with open_engine([TINY], root=tmp_path, device="cpu", workers=1) as engine:
        endless = engine.submit(ENDLESS, folder_of(ENDLESS, tmp_path))
        tiny = engine.submit(TINY, folder_of(TINY, tmp_path))
        wait_for(lambda: read_epochs(endless.folder, SymbolErrorRate()))
        engine.cancel(endless)
        assert ended(engine, endless, tiny) == [Outcome(stopped=True), Outcome()]
    assert endless.folder.checkpoint.exists()
    assert not endless.folder.finished


def test_a_block_that_fails_ends_its_runs(tmp_path: Path) -> None:
    def interrupt() -> None:
        with open_engine([], root=tmp_path, device="cpu", workers=1) as engine:
            engine.submit(ENDLESS, folder)
            wait_for(lambda: read_epochs(folder, SymbolErrorRate()))
            raise KeyboardInterrupt

    folder = folder_of(ENDLESS, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert folder.checkpoint.exists(), "leaving the block waits for the worker"


class Dying(Executor):
    """Its workers die a few times before one lives."""

    def __init__(self, deaths: int, inner: Executor, before: Callable[[Any], None] = lambda request: None) -> None:
        self.deaths, self.inner, self.before = deaths, inner, before

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.deaths -= 1
        if self.deaths < 0:
            return self.inner.submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        self.before(args[0])
        future.set_exception(WorkerLost("a worker died"))
        return future


@pytest.mark.parametrize(("deaths", "expected"), [(TRIES - 1, ""), (TRIES, f"{TRIES} workers died while they ran it")])
def test_a_run_whose_workers_die_resumes_unless_too_many_get_no_further(
    deaths: int, expected: str, tmp_path: Path
) -> None:
    with (
        ThreadPoolExecutor(1) as threads,
        open_engine([], root=tmp_path, device="cpu", workers=1, executor=Dying(deaths, threads)) as engine,
        pytest.warns(WorkerDied, match="a worker died; [0-9a-f]{16} resumes from its last checkpoint") as warned,
    ):
        (outcome,) = ended(engine, engine.submit(TINY, folder_of(TINY, tmp_path)))
    assert outcome is not None
    assert outcome.failure.startswith(expected)
    assert bool(outcome.failure) == bool(expected)
    assert len(warned) == TRIES - 1


@pytest.mark.filterwarnings("ignore::structpred.engine.WorkerDied")
def test_a_run_that_gets_further_each_time_may_lose_any_number_of_workers(tmp_path: Path) -> None:
    epochs = iter(range(1, 100))

    def get_further(request: worker.Request) -> None:
        request.folder.path.mkdir(exist_ok=True)
        request.folder.progress.write_text(f'{{"phase": "training", "epoch": {next(epochs)}}}', encoding="utf-8")

    with (
        ThreadPoolExecutor(1) as threads,
        open_engine(
            [], root=tmp_path, device="cpu", workers=1, executor=Dying(3 * TRIES, threads, get_further)
        ) as engine,
    ):
        assert ended(engine, engine.submit(TINY, folder_of(TINY, tmp_path))) == [Outcome()]


class OutOfMemory(RuntimeError):
    """As PyTorch says it without a class of its own."""

    def __init__(self) -> None:
        super().__init__("DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize(
    ("error", "said", "machine"),
    [
        (DataError("a.tsv line 3: what was expected"), "a.tsv line 3: what was expected", False),
        (MemoryError(), "out of memory", False),
        (OutOfMemory(), "out of memory: DefaultCPUAllocator: can't allocate memory", False),
        (OSError(28, "No space left on device", "x"), "x: No space left on device", True),
        (CodeError("line 3 of mine.py failed"), "line 3 of mine.py failed (traceback in ", False),
        (ZeroDivisionError("by zero"), "ZeroDivisionError", False),
        (SystemExit(1), "SystemExit", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_fails_becomes_a_sentence(
    error: BaseException, said: str, machine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(worker, "train", broken)
    with open_engine([], root=tmp_path, device="cpu", workers=1) as engine:
        handle = engine.submit(TINY, folder_of(TINY, tmp_path))
        (outcome,) = ended(engine, handle)
    assert outcome is not None
    assert outcome.failure.startswith(said)
    assert "\n" not in outcome.failure
    assert outcome.machine == machine
    assert handle.folder.traceback.exists() == ("traceback in" in outcome.failure)


def test_data_are_read_once_for_a_driver_and_again_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's workers may outlive a driver, and the files may change until the next."""
    read: list[Task] = []

    def reading(task: Task) -> Splits:
        read.append(task)
        return loaded(task)

    monkeypatch.setattr(worker, "loaded", reading)
    with ThreadPoolExecutor(1) as threads:
        for count in (1, 2):
            with open_engine([], root=tmp_path, device="cpu", workers=1, executor=threads) as engine:
                handles = [
                    engine.submit(each, folder_of(each, tmp_path))
                    for each in (replace(TINY, seed=seed) for seed in (0, 1))
                ]
                assert ended(engine, *handles) == [Outcome(), Outcome()]
            assert len(read) == count


# ---------------------------------------------------------------------------------------------------------- permits


def test_a_permit_expires_with_its_run_and_with_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structpred.engine.coordination.LOOK", 0.0)
    with permits(tmp_path / "runs") as issued:
        one, other = issued.issue(), issued.issue()
        expired = [expiry(one), expiry(other)]
        assert [each() for each in expired] == [False, False]
        one.unlink()
        assert [each() for each in expired] == [True, False]
    assert [each() for each in expired] == [True, True]
    assert not (tmp_path / "runs").exists(), "nothing else was in it"


def test_permits_that_a_killed_driver_left_are_removed_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    left = tmp_path / ".driving-0123"
    left.mkdir()
    (left / "lock").touch()
    (left / "0").touch()
    expired = expiry(left / "0")
    done, others = threading.Event(), list[Path]()

    def drive() -> None:
        with permits(tmp_path) as issued:
            others.append(issued.issue())
            done.wait(60)

    thread = threading.Thread(target=drive)
    thread.start()
    wait_for(lambda: others)
    assert expired(), "which ends its workers elsewhere"
    assert not left.exists()
    with permits(tmp_path):
        assert others[0].exists()
    done.set()
    thread.join()
    assert list(tmp_path.iterdir()) == []
