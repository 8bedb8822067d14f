"""Every elementary objective has its place in the table or a reason why not, and all arms are tuned by one rule."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from structpred.comparison.across import Across
from structpred.comparison.analysis import scores
from structpred.config import registered_name
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments import objectives_table
from structpred.experiments._objectives_arms import EDIT_RATE, LEFT_OUT, OWN_OUTPUTS, Piece, candidates, sorted_out
from structpred.experiments._objectives_page import Found, page, write_page
from structpred.experiments.five_objectives import CHAIN, SEQ2SEQ
from structpred.experiments.objectives_table import PIECES, SEED, TEMPERATURE_SEEDS, measured, on
from structpred.models import CRF
from structpred.registry import objectives
from structpred.statistics import estimate
from structpred.tasks import HiddenMarkov
from structpred.training import Trainer
from structpred.tuning import Tuning

RECORDS = Path(__file__).resolve().parents[2] / "experiments" / "records" / "objectives_table"
RECORDED = sorted(place.parent.name for place in RECORDS.glob("*/comparison"))


@pytest.mark.parametrize("base", [CHAIN, SEQ2SEQ], ids=["crf", "seq2seq"])
def test_every_registered_objective_has_an_arm_or_is_left_out_with_a_reason(base: Experiment) -> None:
    named = [registered_name(arm.objective) for arm in candidates(base.model).values()]
    ours = [name for name in objectives if objectives[name].__module__.startswith("structpred.")]  # not those of tests
    assert sorted([*named, *LEFT_OUT]) == sorted(ours)
    taken, refused = sorted_out(base.model)
    assert taken.keys() | refused.keys() == candidates(base.model).keys()
    assert all(len(why) > len(arm) + 20 for arm, why in refused.items())


@pytest.mark.parametrize("name", ["letter_tagging.tagger", "ocr_letters.crf", "sigmorphon_2020.seq2seq"])
def test_every_arm_has_four_trials_and_as_many_epochs_as_likelihood(name: str) -> None:
    piece = PIECES[name]
    tried = {arm: each.trials(piece.base) for arm, each in piece.arms().items()}
    assert {len(trials) for trials in tried.values()} == {4}
    every = [trial for trials in tried.values() for trial in trials]
    assert len({each.to_json() for each in every}) == len(every)
    assert {each.epochs for each in every} == {piece.base.epochs}
    assert len({each.start for each in every}) == 2, "the warm arms share their start, the others have none"
    assert SEED not in range(piece.seeds)
    cold = {arm for arm in piece.arms() if arm in OWN_OUTPUTS}
    warm = {arm.removeprefix("ML then ") for arm in piece.arms() if arm.startswith("ML then ")}
    assert warm == cold or (not piece.cold and not cold)


def test_a_setting_is_tried_with_two_rates_and_a_rate_alone_with_four() -> None:
    arms = PIECES["letter_tagging.crf"].arms()
    rates = {arm: sorted({trial.optimiser.lr for trial in arms[arm].trials(CHAIN)}) for arm in ("ML", "RML")}  # type: ignore[attr-defined]  # Adam
    assert rates == {"ML": [0.005, 0.01, 0.02, 0.04], "RML": [0.01, 0.02]}
    trained_on = arms["ML trained on"].trials(CHAIN)
    assert [trial.to_json().count('"epochs":4') for trial in trained_on] == [1] * 4, "of twelve, eight came before"


@pytest.fixture(scope="module")
def tiny() -> Piece:
    model, trainer = CRF(embedding=4, hidden=6), Trainer(epochs=2, batch_tokens=384)
    base = replace(CHAIN, model=model, trainer=trainer)
    return Piece(
        bases={f"{seed}": replace(base, task=HiddenMarkov(size=24, held_out=20, seed=seed)) for seed in (0, 1)}, seeds=2
    )


@pytest.mark.slow(seconds=5)
def test_a_small_piece_of_two_tasks_is_tuned_compared_and_put_on_the_page(
    tiny: Piece, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives_table, "POINTS", 2)
    monkeypatch.setattr(objectives_table, "TEMPERATURE_SEEDS", (100, 101))
    arms = {name: tiny.arms()[name] for name in ("ML", "RML")}
    folder = tmp_path / "reports"
    measured("tiny", tiny, arms, tmp_path / "runs", 1, folder / "tiny")
    found = Found.read(tiny, folder / "tiny")
    assert {name: len(study.finished) for name, study in found.tuning.studies.items()} == {"ML": 4, "RML": 4}
    bases = tiny.bases_of(arms, found.tuning.studies["ML"].experiment)
    assert bases["RML"].optimiser == found.tuning.studies["ML"].experiment.optimiser != tiny.base.optimiser
    for name, experiment in found.report.arms.items():
        tried = arms[name].trials(bases[name])
        best = max(tried, key=lambda trial: _dev(found.tuning, name, trial))
        assert isinstance(experiment, Experiment)
        assert _dev(found.tuning, name, replace(experiment, seed=0)) == _dev(found.tuning, name, best)
    assert found.report.seeds == (0, 1)
    across = Across.read(folder / "tiny" / "comparison" / "results.json", Experiment)
    arms_of = {task: report.arms["RML"] for task, report in across.reports.items()}
    assert arms_of == {task: on(found.tuning.studies["RML"].experiment, base.task) for task, base in tiny.bases.items()}
    write_page({"tiny": tiny, "other": tiny}, folder)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "Not run yet: other" in text
    assert found.settings("RML") in text
    assert found.score("RML") in text
    assert "LabelSmoothing needs" in text
    (folder / "report.md").write_text("notes of my own")
    with pytest.raises(ConfigError, match="not this page"):
        write_page({"tiny": tiny}, folder)


def _dev(tuning: Tuning, arm: str, experiment: Experiment) -> float:
    """The score of the trial that has the experiment's settings."""
    (trial,) = (
        each
        for each in tuning.studies[arm].finished
        if each.experiment is not None and replace(each.experiment, seed=0) == replace(experiment, seed=0)
    )
    return trial.mean


def test_a_page_needs_a_finished_piece() -> None:
    with pytest.raises(ConfigError, match="run --piece first"):
        page({})


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_piece_follows_the_rule_of_tuning(name: str) -> None:
    piece, found = PIECES[name], Found.read(PIECES[name], RECORDS / name)
    assert list(found.report.arms) == list(found.tuning.studies) == list(piece.arms())
    assert found.report.seeds == tuple(range(piece.seeds))
    assert found.temperature.studies["RML"].search.seeds == TEMPERATURE_SEEDS
    bases = piece.bases_of(found.tuning.studies, found.tuning.studies["ML"].experiment)
    for arm, study in found.tuning.studies.items():
        assert study.search.seeds == (SEED,)
        trials = {replace(trial, seed=0) for trial in piece.arms()[arm].trials(bases[arm])}
        assert {replace(each.experiment, seed=0) for each in study.finished if each.experiment} == trials
        assert found.report.arms[arm] == study.experiment
    temperature = found.temperature.studies["RML"]
    tried = temperature.finished if piece.around_likelihood else temperature.outcomes  # some of which were given up
    assert len({each.parameters[EDIT_RATE] for each in tried}) == objectives_table.POINTS


@pytest.mark.skipif(not RECORDED, reason="no piece is recorded yet")
def test_the_recorded_page_is_that_of_the_recorded_pieces() -> None:
    text = (RECORDS / "report.md").read_text(encoding="utf-8")
    lines: dict[str, str] = defaultdict(str)
    for line in (each for each in text.splitlines() if each.startswith("|")):
        lines[line.split("|")[1].strip()] += line
    for name in RECORDED:
        found = Found.read(PIECES[name], RECORDS / name)
        for arm, runs in found.report.results.items():
            score = str(estimate(scores(runs, "test", found.report.metrics[0].name)))
            for cell in (score, found.cost(arm), found.settings(arm)):
                assert cell in lines[arm], (name, arm)
    assert all(name in text for name in PIECES)
