"""Studies of tests: run, made up, read back and shown."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from rich.console import Console

from structpred import Experiment, Tuning, tune
from structpred.engine import driver
from structpred.engine.worker import Outcome, Request
from structpred.metrics import Metric
from structpred.results import RunResult
from structpred.tuning import Space, runner
from structpred.tuning.storage import open_storage


def quick(space: Space | Mapping[str, Space], root: Path, trials: int | None = 4, **options: Any) -> Tuning:
    settings: dict[str, Any] = {"finalists": 0, "pruner": "none", "sampler": "random"} | options
    return tune(space, trials=trials, root=root / "runs", **settings)


def trials_of(root: Path, name: str = "tuning") -> list[FrozenTrial]:
    storage = open_storage(str(root / "runs" / "tuning.journal"))
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def never(*arguments: object, **options: object) -> None:
    raise AssertionError("a finished run was run again")


def fake_runs(monkeypatch: pytest.MonkeyPatch, score: Callable[[Experiment], float]) -> list[Experiment]:
    """Trials end at once with a score of our choice; returns what was run, as it is run."""
    ran: list[Experiment] = []

    def run(request: Request) -> Outcome:
        ran.append(request.experiment)
        return Outcome()

    def result(handle: driver.Handle, metric: Metric) -> RunResult:
        scores = {"dev": {metric.name: score(handle.request.experiment)}}
        return RunResult("", scores, {}, 1, 1, 0.0, 0.0, 0.0, "cpu", history=())

    monkeypatch.setattr(driver, "train_run", run)
    monkeypatch.setattr(runner, "result_of", result)
    return ran


def shown(tuning: Tuning) -> str:
    console = Console(file=io.StringIO(), width=240)
    tuning.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown_of(name: str, result: Any) -> str:
    return shown(Tuning({name: result}, {}, ""))
