"""Jobs of submitit, whose local executor stands for SLURM here."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from structpred import compare
from structpred.engine import WorkerDied, clusters, open_engine
from structpred.engine.clusters import cluster, slurm
from structpred.engine.coordination import read_epochs
from structpred.engine.worker import Outcome
from structpred.errors import ConfigError, RunError
from structpred.metrics import SymbolErrorRate
from structpred.runs import train
from structpred.training import Trainer
from tests.engine.test_engine import ENDLESS, TINY, ended, folder_of, wait_for
from tests.support.studies import quick
from tests.support.tuning import rate

LONG = replace(TINY, trainer=Trainer(epochs=100, batch_tokens=40))


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "POLL", 0.05)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def fail() -> None:
    raise ZeroDivisionError("by zero")


@pytest.mark.slow(seconds=10)
def test_a_job_fails_in_a_sentence(tmp_path: Path) -> None:
    with slurm(tmp_path / "jobs", cluster="local") as executor:
        fails = executor.submit(fail)
        with pytest.raises(RunError, match=r"^ZeroDivisionError in line \d+ of .*test_slurm\.py: by zero$"):
            fails.result()


@pytest.mark.slow
def test_a_comparison_and_a_study_run_as_jobs(tmp_path: Path) -> None:
    with slurm(tmp_path / "jobs", cluster="local", timeout_min=5) as executor:
        quiet = Console(quiet=True)
        report = compare({"ML": TINY}, seeds=(0,), root=tmp_path / "runs", executor=executor, console=quiet)
        tuning = quick(rate, tmp_path, trials=2, workers=2, executor=executor)
    assert report.results["ML"][0].scores == train(TINY, root=tmp_path / "undisturbed").result.scores
    assert tuning.studies["tuning"].count("finished") == 2


@pytest.mark.slow(seconds=30)
def test_a_job_that_ends_early_is_submitted_again_and_one_that_is_cancelled_ends(tmp_path: Path) -> None:
    with (
        slurm(tmp_path / "jobs", cluster="local") as executor,
        open_engine([], root=tmp_path / "runs", device="cpu", workers=1, executor=executor) as engine,
    ):
        long = engine.submit(LONG, folder_of(LONG, tmp_path / "runs"))
        endless = engine.submit(ENDLESS, folder_of(ENDLESS, tmp_path / "runs"))
        wait_for(lambda: all(read_epochs(each.folder, SymbolErrorRate()) for each in (long, endless)))
        assert isinstance(long.future, clusters.JobFuture)
        controller = int(long.future.job.job_id)
        (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text(encoding="utf-8").split()
        os.kill(int(task), signal.SIGKILL)
        engine.cancel(endless)
        with pytest.warns(
            WorkerDied, match=r"SLURM job \d+ ended early; its log is .*\.err.* resumes from its last checkpoint"
        ):
            outcomes = ended(engine, long, endless)
        assert outcomes == [Outcome(), Outcome(stopped=True)]
    assert endless.folder.checkpoint.exists()


def test_without_submitit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install structpred\[slurm\]"), cluster("slurm"):
        pass


def test_where_there_is_no_slurm_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match=r"SLURM cannot be used here .*; run this where `srun` works"), cluster("slurm"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"parameters of SLURM jobs are those of submitit, but .*minutes"),
        slurm(tmp_path, cluster="local", minutes=3),
    ):
        pass
