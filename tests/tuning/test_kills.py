"""Studies whose workers and drivers are killed again and again end with every trial, each once."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from structpred.tuning.storage import opened
from structpred.tuning.trials import INTERRUPTED, RUN, VOID, owners
from tests.support import postgresql
from tests.support.processes import alive, workers_of
from tests.support.tuning import start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in Linux's /proc"),
]
MANY, FEW, WORKERS = 30, 8, 2
"""Trials of the study that is killed again and again, of most others, and of one whose runs last."""
PATIENCE = 500


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
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kill what is left of it at the end of a block."""
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def wait_for_runs(process: "subprocess.Popen[str]", root: Path, finished: int) -> list[int]:
    """Wait until so many runs have finished and two more are trained; returns the workers."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        under_way = [path.parent for path in root.glob("*/log.jsonl") if not (path.parent / "result.json").exists()]
        workers = workers_of(process.pid)
        if len(list(root.glob("*/result.json"))) >= finished and under_way and workers:
            return workers
        time.sleep(0.02)
    pytest.fail(f"no run could be caught; status {process.poll()}")


def said(process: "subprocess.Popen[str]") -> str:
    """What it said on its standard error until it ended."""
    try:
        return process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("the study hangs")


def check_complete(trials: list[FrozenTrial], asked: int) -> None:
    """As many distinct points as were asked for, each slot once, and nothing left in the queue."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == asked
    assert len({trial.params["lr"] for trial in complete}) == asked
    assert sorted(trial.user_attrs["slot"] for trial in complete) == list(range(asked))
    assert set(owners(trials).values()) == {trial.number for trial in complete}
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}


def test_thirty_of_thirty_points_with_workers_and_drivers_killed(tmp_path: Path) -> None:
    """Six kills, of a worker and of the driver in turn, at moments that a fixed seed draws."""
    storage, moments, seen = str(tmp_path / "journal"), random.Random(0), set[int]()
    for rounds in range(3):
        process = start(tmp_path, storage, MANY)
        with ended(process):
            for whom in ("worker", "driver"):
                workers = wait_for_runs(process, tmp_path / "runs", 3 + 8 * rounds)
                seen |= set(workers)
                time.sleep(moments.uniform(0.0, 0.3))
                os.kill(moments.choice(workers) if whom == "worker" else process.pid, signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
    process = start(tmp_path, storage, MANY)
    errors = said(process)
    assert process.returncode == 0, errors
    trials = trials_of(storage)
    check_complete(trials, MANY)
    for trial in trials:  # what was lost with a driver was run again with its parameters
        if trial.state == TrialState.FAIL and trial.params:
            assert trials[owners(trials)[trial.user_attrs["slot"]]].params == trial.params
    assert not any(map(alive, seen)), "a worker outlived its driver"
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == MANY
    assert not list((tmp_path / "runs").glob(".driving-*"))


def test_when_a_worker_is_killed_its_run_resumes_within_its_trial(tmp_path: Path) -> None:
    storage = str(tmp_path / "journal")
    process = start(tmp_path, storage, FEW)
    os.kill(wait_for_runs(process, tmp_path / "runs", 2)[0], signal.SIGKILL)
    errors = said(process)
    assert process.returncode == 0, errors
    assert re.search(r"a worker process died during a run with exit code -9; \w+ resumes from its last check", errors)
    trials = trials_of(storage)
    check_complete(trials, FEW)
    assert len(trials) == FEW


def test_after_the_driver_was_killed_the_same_command_finishes(tmp_path: Path, storage: str) -> None:
    process = start(tmp_path, storage, FEW)
    with ended(process):
        workers = wait_for_runs(process, tmp_path / "runs", 2)
        process.kill()
        process.wait(60)
    again = start(tmp_path, storage, FEW)
    errors = said(again)
    assert again.returncode == 0, errors
    assert ("drives the study" in errors) == storage.startswith("postgresql"), errors
    assert not any(map(alive, workers)), "a worker outlived its driver"
    check_complete(trials_of(storage), FEW)


def test_a_second_command_on_a_study_waits_and_finds_it_complete(tmp_path: Path, storage: str) -> None:
    first = start(tmp_path, storage, WORKERS, "lasting")
    with ended(first):
        wait_for_runs(first, tmp_path / "runs", 0)
        second = start(tmp_path, storage, WORKERS, "lasting")
        errors = said(second)
        assert second.returncode == 0, errors
        assert re.match(r"another command drives the study 'tuning' in .*; waiting until it has ended", errors)
        assert said(first) == ""
        assert first.returncode == 0
    trials = trials_of(storage)
    check_complete(trials, WORKERS)
    assert len(trials) == WORKERS, "the second had nothing to do"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_told_to_end_puts_its_trials_back(tmp_path: Path, number: signal.Signals) -> None:
    storage = str(tmp_path / "journal")
    process = start(tmp_path, storage, FEW, "longest")
    with ended(process):
        workers = wait_for_runs(process, tmp_path / "runs", 0)
        process.send_signal(number)
        errors = said(process)
    assert errors.splitlines()[-1].endswith("interrupted; the same command resumes from here")
    assert not any(map(alive, workers))
    trials = trials_of(storage)
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    interrupted = [trial for trial in trials if trial.user_attrs.get(VOID) == INTERRUPTED]
    assert interrupted
    for trial in interrupted:
        run = tmp_path / "runs" / trial.user_attrs[RUN]
        assert (run / "checkpoint.pt").exists() or (run / "result.json").exists() or not run.exists()
    assert list((tmp_path / "runs").glob("*/checkpoint.pt"))
