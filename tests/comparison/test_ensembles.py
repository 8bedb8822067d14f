"""The ensemble of an arm's seeds, beside its runs."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from structpred import Report, compare
from structpred.comparison import record
from structpred.comparison.ensembles import averaged, check
from structpred.distributions import LinearChain
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF
from structpred.objectives import MaximumLikelihood
from structpred.report import markdown
from structpred.runs import Ensemble
from structpred.training import Trainer
from tests.support.reports import a_report
from tests.support.tiny import Copying

CHAIN = Experiment(
    task=Copying(train=8, longest=3),
    model=CRF(embedding=4, hidden=4),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=40),
)
COLUMN = "test PER of the ensemble (%)"


def test_it_is_scored_as_one_model(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"seeds": (0, 1), "root": tmp_path, "workers": 1, "examples": "none"}
    report = compare({"chain": CHAIN}, console=Console(file=io.StringIO()), ensembles=True, **asked)
    ensemble, task = Ensemble([tmp_path / run.identity[:16] for run in report.results["chain"]]), CHAIN.task.load()
    assert report.ensembles == {"chain": {"dev": ensemble.evaluate(task.dev), "test": ensemble.evaluate(task.test)}}


def test_it_is_a_column_and_kept_with_the_report(tmp_path: Path) -> None:
    plain = a_report(ML=[12.0, 13.0], RML=[11.0, 12.5])
    report = replace(plain, ensembles={arm: {"test": {"PER": 9.875}} for arm in plain.arms})
    (tmp_path / "results.json").write_text(record.encode(report), encoding="utf-8")
    assert Report.read(tmp_path, metrics=plain.metrics).ensembles == report.ensembles
    shown = markdown.render(report.document())
    assert COLUMN in shown
    assert "9.88" in next(line for line in shown.splitlines() if line.startswith("| RML"))
    assert "The ensemble of an arm combines the models of its 2 seeds; it is one model per arm" in shown
    assert averaged({"chain": CHAIN, "kept": plain.arms["ML"]}) == [LinearChain.averages()]
    assert COLUMN not in markdown.render(plain.document())


def test_what_cannot_be_averaged_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match="needs at least two seeds, but there is 1"):
        compare({"chain": CHAIN}, seeds=(0,), ensembles=True)

    class Other:
        distribution = object

    experiment: Any = type("Arm", (), {"model": Other()})()
    with pytest.raises(ConfigError, match="mine: an ensemble needs `mean`, which the object distribution of Other"):
        check({"mine": experiment}, 2)
