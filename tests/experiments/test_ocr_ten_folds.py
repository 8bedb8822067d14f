"""Ten folds of handwritten words: what the arms share, and the whole of it on a few invented pictures."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from structpred.comparison.across import Across
from structpred.comparison.design import Design
from structpred.experiment import Experiment
from structpred.experiments import ocr_ten_folds
from structpred.experiments.ocr_ten_folds import BASELINE, OBJECTIVES, WAYS, experiments, groups, main, searched
from structpred.task import Splits
from structpred.tasks import Letters
from structpred.tuning import Tuning
from structpred.tuning.search import grid
from tests.tasks.test_letters import words


def test_arms_differ_in_objective_optimiser_and_dropout_alone() -> None:
    arms = experiments()
    assert len(arms) == len(OBJECTIVES) * len(WAYS) == 32
    first = arms["ML by Adam"]
    for each in arms.values():
        model = replace(first.model, dropout=each.model.dropout)  # type: ignore[call-arg, attr-defined]  # CRF
        assert replace(each, objective=first.objective, optimiser=first.optimiser, model=model) == replace(
            first, model=model
        )
    assert {arm: len(grid(space, 1)) for arm, space in searched().items()} == dict.fromkeys(arms, 4)


def test_every_arm_is_compared_with_likelihood_trained_in_the_same_way() -> None:
    references = Design(groups=groups()).references(list(experiments()), BASELINE)
    assert len(references) == 28
    assert all(arm.partition(" by ")[2] == reference.removeprefix("ML by ") for arm, reference in references.items())
    assert {reference.partition(" by ")[0] for reference in references.values()} == {"ML"}


@pytest.mark.slow(seconds=10)
def test_a_few_words_are_tuned_on_trained_on_every_fold_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "letter.data"
    pictures.write_text(words(folds=10, each=4), encoding="utf-8")

    def load(self: Letters) -> Splits:
        return self.read(pictures)

    monkeypatch.setattr(Letters, "load", load)
    monkeypatch.setattr(ocr_ten_folds, "OBJECTIVES", {name: OBJECTIVES[name] for name in ("ML", "max-margin")})
    monkeypatch.setattr(ocr_ten_folds, "WAYS", {way: WAYS[way] for way in ("Adam", "SGD with dropout")})
    given = ["--folds", "3", "--root", f"{tmp_path}/runs", "--report", f"{tmp_path}/report"]
    monkeypatch.setattr(sys, "argv", ["", *given])
    main()
    tuning = Tuning.read(tmp_path / "report" / "tuning" / "results.json")
    assert {arm: len(study.finished) for arm, study in tuning.studies.items()} == dict.fromkeys(
        ["ML by Adam", "max-margin by Adam", "ML by SGD with dropout", "max-margin by SGD with dropout"], 4
    )
    objectives, ways = (
        Across.read(tmp_path / "report" / name / "results.json", Experiment) for name in ("objectives", "ways")
    )
    assert list(objectives.reports) == list(ways.reports) == ["fold 0", "fold 1", "fold 2"]
    for arm, chosen in objectives.reports["fold 2"].arms.items():
        assert isinstance(chosen, Experiment)
        assert chosen.task == Letters(protocol="large", fold=2)
        assert replace(chosen, task=Letters(protocol="large"), seed=100) == tuning.studies[arm].experiment
    accuracy = objectives.average.metrics[0]
    assert set(objectives.over_tasks(accuracy)) == {"max-margin by Adam", "max-margin by SGD with dropout"}
    assert ways.average.results.keys() == objectives.average.results.keys()
    runs = len(list((tmp_path / "runs").glob("*/result.json")))
    assert runs == 4 * 4 + 4 * 3, "both comparisons share their runs"
