"""The experiment with ensembles and minimum Bayes risk: what it measures, and what its record says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from structpred.distributions.protocols import Decoding
from structpred.experiment import Experiment
from structpred.experiments import sigmorphon_2020, sigmorphon_ensembles
from structpred.experiments.sigmorphon_ensembles import (
    BEAM,
    DECODINGS,
    ENSEMBLE,
    SINGLE,
    claims,
    macro,
    main,
    rows,
    side_by_side,
    text,
)
from structpred.metrics import WordErrorRate, score
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.runs import Ensemble, Run
from structpred.training import Trainer
from tests.support.tiny import Copying

RECORDS = Path(__file__).resolve().parents[2] / "experiments" / "records"
LANGUAGES = {"hin": 8, "fre": 9}
"""Two languages, which here are tasks of so many training examples."""


def tiny(language: str) -> dict[str, Experiment]:
    arm = Experiment(
        task=Copying(train=LANGUAGES[language], longest=3),
        model=Seq2Seq(embedding=4, hidden=4, dropout=0.0, length_extra=1, length_ratio=1e-9),
        objective=MaximumLikelihood(),
        trainer=Trainer(epochs=1, max_steps=1),
        decoding=Decoding(beam=5),
    )
    return {"ML": arm}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The command with two tiny languages."""
    monkeypatch.setattr(sigmorphon_2020, "experiments", tiny)
    monkeypatch.setattr(sigmorphon_ensembles, "METRICS", Copying.metrics)
    monkeypatch.setattr(sigmorphon_ensembles, "TRIALS", 5)
    few = {how: replace(each, num_candidates=3) if each.reward else each for how, each in DECODINGS.items()}
    monkeypatch.setattr(sigmorphon_ensembles, "DECODINGS", few)
    places = ["--root", str(tmp_path / "runs"), "--report", str(tmp_path / "report")]
    return ["--languages", *LANGUAGES, "--seeds", "2", *places]


@pytest.mark.slow(seconds=3)
def test_single_models_and_their_ensemble_are_scored_as_elsewhere(small: list[str], tmp_path: Path) -> None:
    main(small)
    results = json.loads((tmp_path / "report" / "scores.json").read_text(encoding="utf-8"))
    scores = results["arms"]["ML"]["scores"]
    for language in LANGUAGES:
        found = [Run.load(path) for path in (tmp_path / "runs").iterdir() if path.is_dir()]
        task = tiny(language)["ML"].task
        runs = sorted((run for run in found if run.experiment.task == task), key=lambda run: run.experiment.seed)
        single, both = scores[f"{SINGLE}, {BEAM}"][language], scores[f"{ENSEMBLE}, {BEAM}"][language]
        together = Ensemble(runs).evaluate(task.load().test)
        for metric in Copying.metrics:
            assert single["test"][metric.name] == pytest.approx(
                [run.result.scores["test"][metric.name] for run in runs]
            )
            assert both["test"][metric.name] == pytest.approx([together[metric.name]])
    before = sorted((tmp_path / "runs").rglob("result.json"))
    changed = [path.stat().st_mtime_ns for path in before]
    main(small)  # resumes: nothing is trained again
    assert [path.stat().st_mtime_ns for path in before] == changed
    report = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert report.count(f"\n| {ENSEMBLE}, ") == 2 * len(DECODINGS)


def test_a_macro_average_is_the_mean_of_the_languages_whatever_their_sizes() -> None:
    tables = [np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 1.0]])]
    metric = WordErrorRate()
    assert macro(metric, side_by_side(tables).sum(0), 2) == np.mean([score(metric, table) for table in tables]) == 75.0


@pytest.fixture(scope="module", params=["sigmorphon_ensembles", "sigmorphon_ensembles_rml"])
def folder(request: pytest.FixtureRequest) -> Path:
    """A record."""
    return RECORDS / str(request.param)


@pytest.fixture(scope="module")
def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return found


def test_the_report_is_made_of_the_scores(folder: Path, record: dict[str, Any]) -> None:
    assert (folder / "report.md").read_text(encoding="utf-8") == text(record)


def test_the_tests_are_of_the_differences_of_the_table(record: dict[str, Any]) -> None:
    for result in record["arms"].values():
        for split, by_metric in result["tests"].items():
            for metric, tests in by_metric.items():
                for test in tests:
                    one, other = (
                        np.mean(
                            [each[split][metric] for each in result["scores"][", ".join(test[who])].values()], axis=0
                        )
                        for who in ("system", "against")
                    )
                    assert test["difference"] == pytest.approx(np.mean(one) - np.mean(other), abs=1e-9)
            assert len(claims(result, split)) == sum(map(len, by_metric.values()))
        assert len(rows(result, "test")) == 2 * len(DECODINGS)
        assert all(len(seconds) == record["seeds"] for seconds in result["training_cpu_seconds"].values())
