"""Studies of tests: run, made up, read back and shown."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from rich.console import Console

from structpred import Experiment, Tuning, tune
from structpred.tuning import Space, evaluation
from structpred.tuning.storage import open_storage


def quick(space: Space | Mapping[str, Space], root: Path, trials: int | None = 4, **options: Any) -> Tuning:
    settings: dict[str, Any] = {"finalists": 0, "pruner": "none", "sampler": "random"} | options
    return tune(space, trials=trials, root=root / "runs", **settings)


def trials_of(root: Path, name: str = "tuning") -> list[FrozenTrial]:
    storage = open_storage(str(root / "runs" / "tuning.journal"))
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def never(*arguments: object, **options: object) -> None:
    raise AssertionError("a finished run was run again")


@dataclass
class FakeRun:
    result: Any


def fake_runs(monkeypatch: pytest.MonkeyPatch, score: Callable[[Experiment], float]) -> list[Experiment]:
    """Trials end at once with a score of our choice; returns what was run, as it is run."""
    ran: list[Experiment] = []

    def run(self: evaluation.Training) -> FakeRun:
        ran.append(self.experiment)
        return FakeRun(SimpleNamespace(scores={"dev": {"PER": score(self.experiment)}}))

    monkeypatch.setattr(evaluation.Training, "run", run)
    return ran


def shown(tuning: Tuning) -> str:
    console = Console(file=io.StringIO(), width=240)
    tuning.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown_of(name: str, result: Any) -> str:
    return shown(Tuning({name: result}, {}, ""))
