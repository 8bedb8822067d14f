"""Two worker processes share a study; one is killed in the middle of a trial, or all of them are."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from structpred.tuning import lease as leases
from structpred.tuning.lease import LEASE, born
from structpred.tuning.slots import INTERRUPTED, LOST, VOID, owners
from structpred.tuning.storage import opened
from tests.support import postgresql
from tests.support.tuning import start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(leases.place() is None, reason="looks for processes in Linux's /proc"),
]
TRIALS = 14
FEWER = 10
"""For what does not depend on their number."""
PATIENCE = 400


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "journal":
        yield str(tmp_path / "journal")
    else:
        with postgresql.server() as url:
            yield url


@contextmanager
def study(storage: str) -> Iterator[optuna.Study]:
    """The study as anybody with Optuna sees it."""
    with opened(storage) as kept:
        yield optuna.load_study(study_name="tuning", storage=kept)


def kill_in_a_trial(process: "subprocess.Popen[str]", storage: str, after: int) -> int:
    """Kill a worker that is certainly within a trial, once some are complete; returns its number."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        if (pid := _stopped_in_a_trial(storage, after)) is not None:
            os.kill(pid, signal.SIGKILL)
            return pid
        time.sleep(0.1)
    pytest.fail(f"no worker could be caught within a trial; status {process.poll()}")


def _stopped_in_a_trial(storage: str, after: int) -> int | None:
    try:
        with study(storage) as seen:
            trials = seen.get_trials()
            running = [each for each in trials if each.state == TrialState.RUNNING and each.params]
            complete = sum(each.state == TrialState.COMPLETE for each in trials)
            if complete < after or not running:
                return None
            pid: int = running[-1].user_attrs[LEASE]["pid"]
            os.kill(pid, signal.SIGSTOP)
            if seen.get_trials()[running[-1].number].state == TrialState.RUNNING:
                return pid
            os.kill(pid, signal.SIGCONT)
    except (KeyError, ProcessLookupError):  # no study yet, or the worker has just ended
        pass
    return None


def finished(process: "subprocess.Popen[str]") -> str:
    """What it said on its standard error."""
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("the study hangs")
    return errors


def check_complete(trials: list[FrozenTrial], asked: int) -> None:
    """As many distinct points as were asked for, none twice, and nothing left in the queue."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == asked
    assert len({trial.params["lr"] for trial in complete}) == asked
    assert sorted(trial.user_attrs["slot"] for trial in complete) == list(range(asked))
    assert set(owners(trials).values()) == {trial.number for trial in complete}
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}


def test_when_one_of_two_workers_is_killed_no_trial_is_lost_or_repeated(tmp_path: Path, storage: str) -> None:
    process = start(tmp_path, storage, TRIALS)
    pid = kill_in_a_trial(process, storage, after=5)
    errors = finished(process)
    assert process.returncode == 0, errors
    assert "1 of 2 worker processes died, the first with exit code -9" in errors
    with study(storage) as seen:
        trials = seen.get_trials()
    check_complete(trials, TRIALS)
    (lost,) = [trial for trial in trials if trial.user_attrs.get(VOID) == LOST]
    assert lost.user_attrs[LEASE]["pid"] == pid
    again = trials[owners(trials)[lost.user_attrs["slot"]]]
    assert again.params == lost.params


def test_after_everything_was_killed_the_same_command_finishes(tmp_path: Path) -> None:
    storage = str(tmp_path / "journal")
    process = start(tmp_path, storage, FEWER)
    pid = kill_in_a_trial(process, storage, after=3)
    process.kill()
    process.communicate()
    with study(storage) as seen:
        workers = {trial.user_attrs[LEASE]["pid"] for trial in seen.get_trials() if LEASE in trial.user_attrs}
    again = start(tmp_path, storage, FEWER)
    assert finished(again) == ""
    assert again.returncode == 0
    assert pid in workers
    assert not any(born(worker) for worker in workers), "a worker outlived its parent"
    with study(storage) as seen:
        trials = seen.get_trials()
    check_complete(trials, FEWER)
    assert {trial.user_attrs[VOID] for trial in trials if VOID in trial.user_attrs} <= {LOST, INTERRUPTED}


def test_two_commands_on_one_storage_share_the_trials(tmp_path: Path, storage: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    both = [start(tmp_path / name, storage, FEWER) for name in ("one", "two")]
    assert [finished(process) for process in both] == ["", ""]
    with study(storage) as seen:
        trials = seen.get_trials()
    check_complete(trials, FEWER)
    workers = {trial.user_attrs[LEASE]["pid"] for trial in trials if LEASE in trial.user_attrs}
    assert len(workers) > 1
