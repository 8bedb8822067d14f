"""Metrics that are chosen: by name, outside the identity, from what finished runs keep."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from structpred import compare
from structpred.cli import assignments
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.metrics import Accuracy, Bleu, ChunkF1, Metric, Ratio, SymbolErrorRate, UnknownAccuracy, WordErrorRate
from structpred.models import Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.registry import metrics, tasks
from structpred.runs import Run, train
from structpred.runs.folder import CHECKSUMS
from structpred.training import Adam, Trainer
from structpred.vocabulary import Symbols
from tests.support.tiny import Copying


@metrics.register("test-length")
@dataclass(frozen=True, kw_only=True)
class LengthError(Ratio):
    """Missing and superfluous symbols for each symbol of the reference nearest in length."""

    name: ClassVar[str] = "LEN"
    higher_is_better: ClassVar[bool] = False

    @property
    def signature(self) -> str:
        return "LEN|test"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        return min((float(abs(len(prediction) - len(each))), float(len(each))) for each in references)


@dataclass(frozen=True, kw_only=True)
class Crashing(LengthError):
    """Divides by the number of symbols that are wrong."""

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        return 1 / sum(one != other for one, other in zip(prediction, references[0], strict=False)), 1.0


@dataclass(frozen=True, kw_only=True)
class OfThree(LengthError):
    """Counts three numbers and inherits a score of two."""

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> Any:
        return 1.0, 2.0, 3.0


@tasks.register("test-spelt-alike")
@dataclass(frozen=True, kw_only=True)
class UniqueRows(Copying):
    """Two outputs are rendered alike."""

    def render(self, output: Symbols) -> str:
        return "x" * len(output)


PLAIN = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=0.03),
    trainer=Trainer(epochs=8, batch_tokens=40),
)
CHOSEN = replace(PLAIN, metrics=(LengthError(), SymbolErrorRate()))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(root: Path) -> Run:
    """By the task's own metrics."""
    return train(PLAIN, root=root)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, by others from the start."""
    return train(CHOSEN, root=tmp_path_factory.mktemp("chosen"))


def older(run: Run, *unlisted: str) -> Run:
    """As runs were before they kept label ids; of some files there are no checksums."""
    run.folder.outputs.unlink()
    lines = (run.folder.path / CHECKSUMS).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.endswith(("outputs.npz\n", *(f"{name}\n" for name in unlisted))))
    (run.folder.path / CHECKSUMS).write_text(kept, encoding="utf-8")
    return Run.load(run.folder.path)


def nothing_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    def predicted(*arguments: object, **options: object) -> None:
        raise AssertionError("what is stored must do")

    for home in ("structpred.runs.predictor.predict", "structpred.training.trainer.predict"):
        monkeypatch.setattr(home, predicted)


def test_they_change_nothing_of_a_run_but_what_it_is_scored_by(trained: Run, chosen: Run) -> None:
    assert CHOSEN.identity("data") == PLAIN.identity("data")
    assert chosen.result.identity == trained.result.identity
    assert all((value == chosen.weights()[name]).all() for name, value in trained.weights().items())
    assert (chosen.result.best_epoch, chosen.experiment) == (trained.result.best_epoch, PLAIN)
    assert json.loads(chosen.folder.experiment.read_text("utf-8"))["metrics"] == [], "anybody can load it"
    assert list(trained.result.scores["dev"]) == ["PER", "WER"]
    assert list(chosen.result.scores["dev"]) == ["PER", "WER", "LEN"], "the task's own choose the checkpoint"
    assert all("LEN" in epoch.dev for epoch in chosen.result.history)


def test_one_that_is_added_later_is_computed_from_the_stored_predictions(
    trained: Run, chosen: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_is_predicted(monkeypatch)
    found = train(CHOSEN, root=root).result
    assert found.scores == chosen.result.scores
    assert found.signatures == chosen.result.signatures
    assert Run.load(trained.folder.path).result.scores == trained.result.scores, "the run itself stays as it is"
    other = train(replace(PLAIN, metrics=(Bleu(tokenize="none"),)), root=root).result
    assert 0 <= other.scores["test"]["BLEU"] <= 100


def test_a_run_that_keeps_texts_only_will_do_where_they_can_be_taken_apart(
    chosen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = older(train(PLAIN, root=tmp_path))
    nothing_is_predicted(monkeypatch)
    for split in ("dev", "test"):
        assert run.outputs(split) == chosen.outputs(split)
        assert len(set(run.outputs(split))) > 1
    assert train(CHOSEN, root=tmp_path).result.scores == chosen.result.scores


def test_texts_that_may_be_several_outputs_are_refused(tmp_path: Path) -> None:
    run = older(
        train(replace(PLAIN, task=UniqueRows(), trainer=Trainer(epochs=1)), root=tmp_path), "dev.predictions.tsv"
    )
    file = run.folder.predictions("dev")
    heading, *rows = file.read_text("utf-8").splitlines()
    cells = [row.split("\t") for row in rows]
    file.write_text("\n".join([heading, *(f"{each[0]}\txx\t{each[2]}" for each in cells)]) + "\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"as text only, and the labels behind 'xx' are ambiguous, .*again$"):
        run.reported_by([LengthError()])


def test_other_data_and_damaged_outputs_are_refused(tmp_path: Path) -> None:
    run = train(PLAIN, root=tmp_path)
    others = replace(PLAIN.task, train=39).load()  # type: ignore[call-arg]  # of Copying
    with pytest.raises(RunError, match="LEN cannot be computed, because the task's data have changed since the run"):
        run.reported_by([LengthError()], others)
    older(run, "dev.predictions.tsv")
    np.savez(run.folder.outputs, dev=np.zeros(3))
    rows = run.folder.predictions("dev").read_text("utf-8")
    assert Run.load(run.folder.path).outputs("dev") == run.outputs("dev"), "it is not the run's"
    run.folder.predictions("dev").write_text(rows.partition("\n")[0] + "\n", encoding="utf-8")
    with pytest.raises(RunError, match="holds 0 outputs for 7 examples; the run cannot be used as it is"):
        run.reported_by([LengthError()])


def test_a_comparison_reports_by_them_and_computes_what_is_missing(root: Path, trained: Run, chosen: Run) -> None:
    arms = {"ML": PLAIN, "RML": replace(PLAIN, objective=RML())}
    own = compare(arms, seeds=range(1), root=root, workers=1)
    assert [metric.name for metric in own.metrics] == ["PER", "WER"]
    found = compare(
        {name: replace(arm, metrics=CHOSEN.metrics) for name, arm in arms.items()}, seeds=range(1), root=root
    )
    assert [metric.name for metric in found.metrics] == ["LEN", "PER"]
    assert found.results["ML"][0].scores == chosen.result.scores
    with pytest.raises(ConfigError, match="the arms of a comparison share their metrics, but 'ML' and 'RML' differ"):
        compare({"ML": CHOSEN, "RML": arms["RML"]}, seeds=range(1), root=root)


def test_a_finished_run_is_evaluated_by_any(trained: Run) -> None:
    test = PLAIN.task.load().test
    assert list(trained.evaluate(test)) == ["PER", "WER"]
    assert trained.evaluate(test, metrics=[LengthError()])["LEN"] >= 0


@pytest.mark.parametrize(
    "given", [("test-length", "per"), (LengthError(), SymbolErrorRate()), ("test-length", SymbolErrorRate())]
)
def test_they_are_given_by_name_or_made(given: Any) -> None:
    made = replace(PLAIN, metrics=given)
    assert made == CHOSEN
    assert Experiment.from_json(made.to_json()) == made
    assert assignments.experiment(["metrics=test-length,per"], PLAIN) == made
    assert assignments.experiment(['metrics=["test-length", {"type": "per"}]'], PLAIN) == made
    assert made.reported == CHOSEN.metrics
    assert [metric.name for metric in made.scored] == ["PER", "WER", "LEN"]
    assert PLAIN.reported == PLAIN.scored == (SymbolErrorRate(), WordErrorRate())


class Nameless(SymbolErrorRate):
    """A name that no report could show."""

    name = "P\nER"


class Otherwise(SymbolErrorRate):
    """Another number under the same name."""

    @property
    def signature(self) -> str:
        return "PER|otherwise"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("prr",), "there is no metric named 'prr'; did you mean 'per'"),
        (("WER",), "there is no metric named 'WER'; did you mean 'wer'"),
        ((WordErrorRate,), r"Experiment\.metrics\[0\] must be a Metric, but got the class; write WordErrorRate\(\)"),
        ((3,), r"Experiment\.metrics\[0\] must be a Metric, but got 3"),
        (("per", "wer", "per"), "must name each metric once, but PER occurs twice"),
        (
            (Otherwise(),),
            r"but PER is already the name of SymbolErrorRate\(\), and reports know metrics by",
        ),
        ((Nameless(),), r"Nameless\.name must be one line of text without control characters, but got 'P\\nER'"),
        ((Bleu(), Bleu(lowercase=True)), "but BLEU is already the name of Bleu"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_a_sentence(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(PLAIN, metrics=given)


@metrics.register("test-drawing")
@dataclass(frozen=True, kw_only=True)
class Drawing(Ratio):
    """Not the same twice."""

    name = "DRAWN"
    higher_is_better = True
    signature = "DRAWN"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        return random.random(), 1.0


UNFIT: dict[str, tuple[Metric, str]] = {
    "tags": (ChunkF1(), r"the metric F1 does not fit the task Copying \(chunks are read from the tags O, .*\); choose"),
    "words": (
        UnknownAccuracy(),
        "the metric OOV-ACC does not fit the task Copying, which marks no word",
    ),
    "code": (
        Crashing(),
        r"the metric LEN does not fit .* \(Crashing\.counts, line \d+ of .*, failed with Zero",
    ),
    "random": (Drawing(), r"does not fit .* \(Drawing\.counts returned other numbers for the same outputs"),
    "three numbers": (
        OfThree(),
        r"does not fit .* \(OfThree\.counts must return a numerator and a denominator, but returned 3 numbers; write",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("way", ["train", "compare"])
def test_one_that_does_not_fit_the_task_is_refused_before_training(name: str, way: str, tmp_path: Path) -> None:
    metric, words = UNFIT[name]
    experiment = replace(PLAIN, metrics=(Accuracy(), metric))
    ways: dict[str, Callable[[], object]] = {
        "train": lambda: train(experiment, root=tmp_path),
        "compare": lambda: compare({"one": experiment}, seeds=range(1), root=tmp_path),
    }
    with pytest.raises(ConfigError, match=words):
        ways[way]()
    assert list(tmp_path.iterdir()) == []
