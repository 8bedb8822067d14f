"""``structpred diagnose``: what it prints and writes, and that the run stays as it is."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch import Tensor

from structpred.cli import diagnosing, main
from structpred.diagnosis import Diagnosis, Measured, Settings, diagnose, picture
from structpred.diagnosis.findings import as_json, document, summary
from structpred.diagnosis.picture import path
from structpred.diagnosis.runner import BEGAN, ENDED, FRESH, OWN, outputs_of
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import LSTMTagger
from structpred.objective import Losses, StepContext
from structpred.objectives import REINFORCE, Adversarial, MaximumLikelihood
from structpred.registry import objectives, rewards
from structpred.report import markdown
from structpred.rewards import Hamming
from structpred.runs import Run, train
from structpred.sequences import Sequences
from structpred.training import Trainer
from tests.support.commands import tree
from tests.support.tiny import Copying

pytestmark = pytest.mark.usefixtures("own_folder")

FEW = ("--batch", "2", "--draws", "3", "--objectives", "maximum-likelihood", "rml")


@rewards.register("test-fails-later")
@dataclass(frozen=True, kw_only=True)
class FailsLater(Hamming):
    """A reward that trains a run, and fails when the run is diagnosed."""

    failing: ClassVar[bool] = False

    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        if self.failing:
            raise KeyError("a file that is gone")
        return super().score(outputs, references)


def test_a_run_is_diagnosed_and_stays_as_it_is(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: Path(path).stat().st_mtime_ns for path in tree(trained)}
    assert main(["diagnose", str(trained), *FEW]) == 0
    assert {path: Path(path).stat().st_mtime_ns for path in tree(trained)} == before
    said = capsys.readouterr()
    assert said.err == ""
    assert "## First weights: gradients with respect to the weights" in said.out
    assert "| maximum-likelihood |" in said.out
    folder = Path("reports/diagnosis") / trained.name
    tree_of = json.loads((folder / diagnosing.JSON).read_text(encoding="utf-8"))
    rows = tree_of["gradients"]
    assert [(row["weights"], row["objective"]) for row in rows] == [
        (point, name) for point in (BEGAN, ENDED) for name in ("maximum-likelihood", "rml")
    ]
    likelihood, rml = rows[:2]
    assert (likelihood["random"], likelihood["snr"]["value"], likelihood["outputs"]) == (False, None, 0)
    assert (rml["random"], rml["gradients"], rml["outputs"]) == (True, 3, 1)
    assert set(tree_of["divergences"]) == {BEGAN, ENDED}
    assert (folder / diagnosing.PNG).read_bytes().startswith(b"\x89PNG")
    assert (folder / diagnosing.SVG).read_text(encoding="utf-8").startswith("<svg")
    diagnosing.check_folder(folder, trained)  # an earlier diagnosis may be replaced
    (folder / diagnosing.JSON).write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds files that are not from a diagnosis"):
        diagnosing.check_folder(folder, trained)


def test_a_fresh_model_has_the_weights_that_its_run_began_with(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an objective without draws, of which the picture has nothing to show."""
    run = Run.load(trained)
    settings = Settings(objectives=("maximum-likelihood",), batch=2, draws=2)
    fresh = diagnose(run.experiment, settings)
    both = diagnose(run, settings)
    assert [row.point for row in fresh.rows] == [FRESH]
    assert [row.point for row in both.rows] == [BEGAN, ENDED]
    assert fresh.rows[0].quality.norm == both.rows[0].quality.norm
    assert both.rows[0].quality.norm != both.rows[1].quality.norm
    assert summary(both) == ()
    monkeypatch.setattr(picture, "png", lambda figure: b"")
    assert picture.pictures(both)[1] == b""


def test_an_unfinished_run_is_one_line(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    shutil.copy(trained / "experiment.json", tmp_path / "begun")
    assert main(["diagnose", "begun"]) == 2
    assert capsys.readouterr().err.startswith("structpred: begun: this run is not finished; start it again")


def test_the_picture_shows_both_halves() -> None:
    shares, rml, reinforce = path(26, 10, 0.1, steps=5)
    assert (shares[0], shares[-1]) == (0, 1)
    assert rml[0] == pytest.approx(4.0714, rel=1e-4)
    assert reinforce[0] == pytest.approx(0.012024, rel=1e-4)
    assert rml[-1] < reinforce[-1]


@pytest.mark.parametrize(
    ("snr", "words"),
    [(math.inf, "no noise in these draws"), (math.nan, "a signal-to-noise ratio that the draws leave open")],
)
def test_a_ratio_that_is_no_number_is_told_in_words(trained: Path, snr: float, words: str) -> None:
    found = diagnose(Run.load(trained).experiment, Settings(objectives=("rml", "reinforce"), batch=1, draws=2))
    odd = tuple(replace(row, quality=replace(row.quality, snr=Measured(snr))) for row in found.rows)
    said = " ".join(summary(replace(found, rows=odd)))
    assert f"from 1 draw an example has {words}, and one of REINFORCE" in said


def test_an_own_objective_without_a_number_of_samples_counts_none() -> None:
    class Own(MaximumLikelihood):
        exact = False
        draws_in_step = True

    assert outputs_of(Own()) == 0


@objectives.register("test-fails-in-a-diagnosis")
@dataclass(frozen=True, kw_only=True)
class FailsInADiagnosis(MaximumLikelihood):
    failing: ClassVar[bool] = False

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        if self.failing:
            raise ZeroDivisionError("one too many")
        return super().losses(p, targets, context)


def test_a_registered_objective_that_fails_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FailsInADiagnosis, "failing", True)
    experiment = Experiment(task=Copying(), model=LSTMTagger(embedding=4, hidden=4), objective=MaximumLikelihood())
    found = diagnose(experiment, Settings(batch=2, draws=2))
    assert "rml" in {row.objective.partition(" (")[0] for row in found.rows}
    (why,) = (why for name, why in found.refused.items() if name.startswith("test-fails-in-a-diagnosis"))
    assert "ZeroDivisionError: one too many" in why
    assert "test_diagnosing.py" in why


def _norms(found: Diagnosis) -> dict[tuple[str, str, str], float]:
    """Of every row but those of objectives that tests have registered, some of which have none."""
    rows = (row for row in found.rows if not row.objective.startswith("test-"))
    return {(row.point, row.wrt, row.objective): row.quality.norm.value for row in rows}


@pytest.mark.slow(seconds=4)
def test_where_the_runs_own_reward_fails_the_other_rows_are_shown_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment(
        task=Copying(),
        model=LSTMTagger(embedding=4, hidden=4),
        objective=REINFORCE(reward=FailsLater(), samples=2),
        trainer=Trainer(epochs=1),
    )
    run, settings = train(experiment, root=tmp_path), Settings(batch=2, draws=2)
    whole = diagnose(run, settings)
    monkeypatch.setattr(FailsLater, "failing", True)
    found = diagnose(run, settings)
    assert _norms(found) == {key: norm for key, norm in _norms(whole).items() if OWN not in key}
    assert {row.objective for row in whole.rows} - {row.objective for row in found.rows} == {OWN}
    why = "FailsLater.score, line "
    assert f"* {OWN}: at the {ENDED}, {why}" in markdown.render(document(found))
    assert json.loads(as_json(found))["left_out"][OWN].endswith("failed with KeyError: 'a file that is gone'")


@pytest.mark.slow(seconds=4)
def test_a_run_whose_objective_shifts_vectors_has_rows_of_its_own_with_respect_to_the_weights(tmp_path: Path) -> None:
    objective = Adversarial(objective=REINFORCE(reward=Hamming(), samples=2))
    model = LSTMTagger(embedding=4, hidden=4)
    experiment = Experiment(task=Copying(), model=model, objective=objective, trainer=Trainer(epochs=1))
    settings = Settings(batch=2, draws=2)
    found = diagnose(train(experiment, root=tmp_path), settings)
    own = [(row.point, row.wrt, row.outputs) for row in found.rows if row.objective == OWN]
    assert own == [(BEGAN, "weights", 4), (ENDED, "weights", 4)], "two before the shift and two after it"
    assert OWN not in found.refused


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (Measured(1.04, 0.1), "1.04 ± 0.1, beyond 1 by chance"),
        (Measured(-1.04, 0.1), "-1.04 ± 0.1, beyond 1 by chance"),
        (Measured(0.9, 0.2), "0.9 ± 0.2"),
        (Measured(1.0), "1"),
        (Measured(math.nan, math.nan), "open"),
    ],
    ids=lambda value: str(value).replace(" ", "_"),
)
def test_a_cosine_beyond_one_is_said_to_be_so_by_chance(trained: Path, measured: Measured, words: str) -> None:
    found = diagnose(Run.load(trained).experiment, Settings(objectives=("maximum-likelihood",), batch=1, draws=2))
    odd = tuple(replace(row, quality=replace(row.quality, cosine=measured)) for row in found.rows)
    (cell,) = (row[5] for row in document(replace(found, rows=odd)).sections[1].blocks[0].rows)  # type: ignore[union-attr]
    assert cell == words
