"""Studies whose workers and drivers are killed again and again end with every trial, each once."""

import io
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from structpred import tune
from structpred.tuning.storage import opened
from structpred.tuning.trials import INTERRUPTED, RUN, VOID, owners
from tests.support import postgresql
from tests.support.processes import alive, workers_of
from tests.support.tuning import OPTIONS, Driver, lasting, longest, start

pytestmark = [
    pytest.mark.slow(seconds=30),
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in Linux's /proc"),
]
MANY, FEW = 20, 4
"""Trials of the study that is killed again and again, and of those whose runs last."""
PATIENCE = 500
NOTICE = "another command drives the study 'tuning' in .*; waiting until it has ended.*\n"


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgresql":
        with postgresql.server() as url:
            yield url
    else:
        yield str(tmp_path / "journal")


def trials_of(storage: str) -> list[FrozenTrial]:
    """All trials, as anybody with Optuna sees them."""
    with opened(storage) as kept:
        return optuna.load_study(study_name="tuning", storage=kept).get_trials()


@contextmanager
def killed_at_last(*drivers: Driver) -> Iterator[None]:
    """Kill what is left of them at the end of a block."""
    try:
        yield
    finally:
        for driver in drivers:
            driver.process.kill()
            driver.process.join()


def wait_until(condition: Callable[[], bool], driver: Driver) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and driver.process.exitcode is None:
        if condition():
            return
        time.sleep(0.02)
    pytest.fail(f"it never came to that; status {driver.process.exitcode}: {driver.said()}")


def wait_for_runs(driver: Driver, root: Path, finished: int) -> list[int]:
    """Wait until so many runs have finished and another one is trained; returns the workers."""

    def under_way() -> bool:
        begun = any(not (path.parent / "result.json").exists() for path in root.glob("*/log.jsonl"))
        return begun and len(list(root.glob("*/result.json"))) >= finished and bool(workers_of(driver.pid))

    wait_until(under_way, driver)
    return workers_of(driver.pid)


def check_complete(trials: list[FrozenTrial], asked: int) -> None:
    """As many distinct points as were asked for, each slot once, and nothing left in the queue."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == asked
    assert len({trial.params["lr"] for trial in complete}) == asked
    assert sorted(trial.user_attrs["slot"] for trial in complete) == list(range(asked))
    assert {trial.number for trial in owners(trials).values()} == {trial.number for trial in complete}
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}


def test_every_point_that_is_asked_for_is_there_with_workers_and_drivers_killed(tmp_path: Path) -> None:
    """Five kills, of a worker and of the driver in turn, at moments that a fixed seed draws."""
    storage, moments, seen = str(tmp_path / "journal"), random.Random(0), set[int]()
    for rounds in range(2):
        driver = start(tmp_path, storage, MANY)
        with killed_at_last(driver):
            for whom in ("worker", "driver"):
                workers = wait_for_runs(driver, tmp_path / "runs", 3 + 8 * rounds)
                seen |= set(workers)
                time.sleep(moments.uniform(0.0, 0.3))
                os.kill(moments.choice(workers) if whom == "worker" else driver.pid, signal.SIGKILL)
            assert driver.ended(60) == -signal.SIGKILL
    lost = {trial.number for trial in trials_of(storage) if trial.state in (TrialState.RUNNING, TrialState.FAIL)}
    driver = start(tmp_path, storage, MANY)
    with killed_at_last(driver):
        done = len(list((tmp_path / "runs").glob("*/result.json")))
        os.kill(wait_for_runs(driver, tmp_path / "runs", done + 2)[0], signal.SIGKILL)  # its workers have begun by then
        assert driver.ended(PATIENCE) == 0, driver.said()
    errors = driver.said()
    assert re.search(r"a worker process died during a run with exit code -9; \w+ resumes from its last check", errors)
    assert not re.search(NOTICE, errors), "the lock of a dead driver is free at once"
    trials = trials_of(storage)
    check_complete(trials, MANY)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert {trial.number for trial in failed} == lost, "a run whose worker was killed resumes within its trial"
    for trial in failed:  # what was lost with a driver was run again with its parameters
        if trial.params:
            assert owners(trials)[trial.user_attrs["slot"]].params == trial.params
    assert not any(map(alive, seen)), "a worker outlived its driver"
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == MANY
    assert not list((tmp_path / "runs").glob(".driving-*"))


def test_a_second_command_waits_takes_over_from_a_killed_one_and_leaves_nothing_to_a_third(
    tmp_path: Path, storage: str
) -> None:
    first = start(tmp_path, storage, FEW, lasting)
    with killed_at_last(first):
        wait_until(lambda: bool(workers_of(first.pid)), first)
        second = start(tmp_path, storage, FEW, lasting)
        with killed_at_last(second):
            wait_until(lambda: second.said() != "", second)
            workers = wait_for_runs(first, tmp_path / "runs", 0)
            os.kill(first.pid, signal.SIGKILL)
            assert first.ended(60) == -signal.SIGKILL
            assert first.said() == ""
            workers += wait_for_runs(second, tmp_path / "runs", 0)
            console = Console(file=io.StringIO())
            tune(lasting, trials=FEW, storage=storage, root=tmp_path / "runs", console=console, **OPTIONS)
            assert second.ended(60) == 0, second.said()
    assert isinstance(console.file, io.StringIO)
    for said in (second.said(), console.file.getvalue()):
        assert re.fullmatch(NOTICE, said)
    assert not any(map(alive, workers)), "a worker outlived its driver"
    trials = trials_of(storage)
    check_complete(trials, FEW)
    assert len(trials) <= FEW + 2, "the third had nothing to do, and the second put two trials back at most"


def test_a_second_command_finds_a_study_complete_that_the_first_has_finished(tmp_path: Path) -> None:
    storage = str(tmp_path / "journal")
    first = start(tmp_path, storage, 2, lasting)
    with killed_at_last(first):
        wait_for_runs(first, tmp_path / "runs", 0)
        second = start(tmp_path, storage, 2, lasting)
        with killed_at_last(second):
            assert second.ended(PATIENCE) == 0, second.said()
            assert re.fullmatch(NOTICE, second.said())
        assert first.ended(PATIENCE) == 0
        assert first.said() == ""
    trials = trials_of(storage)
    check_complete(trials, 2)
    assert len(trials) == 2, "the second had nothing to do"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_told_to_end_puts_its_trials_back(tmp_path: Path, number: signal.Signals) -> None:
    storage = str(tmp_path / "journal")
    driver = start(tmp_path, storage, FEW, longest)
    with killed_at_last(driver):
        workers = wait_for_runs(driver, tmp_path / "runs", 0)
        os.kill(driver.pid, number)
        assert driver.ended(PATIENCE) == 1
    assert driver.said().splitlines()[-1].endswith("interrupted; the same command resumes from here")
    assert not any(map(alive, workers))
    trials = trials_of(storage)
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    interrupted = [trial for trial in trials if trial.user_attrs.get(VOID) == INTERRUPTED]
    assert interrupted
    for trial in interrupted:
        run = tmp_path / "runs" / trial.user_attrs[RUN]
        assert (run / "checkpoint.pt").exists() or (run / "result.json").exists() or not run.exists()
    assert list((tmp_path / "runs").glob("*/checkpoint.pt"))
