"""Text in the pieces of a pretrained tokenizer, scored in the symbols of the task that it comes from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from structpred.errors import ConfigError, DataError
from structpred.experiment import Experiment
from structpred.metrics import Bleu, Metric
from structpred.objectives import MinimumRisk
from structpred.pretrained import PretrainedSeq2Seq
from structpred.rewards import FunctionReward
from structpred.runs import Run, train
from structpred.sequences import spelt
from structpred.task import Example, Splits, Task
from structpred.tasks import PretrainedPieces, Tsv
from structpred.tasks.pretrained import LossyPiecesWarning
from structpred.tasks.published import NewLabelWarning
from structpred.training import Trainer
from tests.support.networks import saved
from tests.support.tiny import Copying


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved("bart", tmp_path_factory.mktemp("bart"))


@dataclass(frozen=True, kw_only=True)
class Said(Task):
    """Sentences given as text; of no family, because tests alone make it."""

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(tokenize="none"),)

    said: tuple[str, ...] = ("abb a\tab d", "c\tda abb c")
    between: str = " "

    def load(self) -> Splits:
        pairs = [each.split("\t") for each in self.said]
        examples = tuple(
            Example(tuple(one.split()), (tuple(other.split()),), f"line {i}") for i, (one, other) in enumerate(pairs)
        )
        return Splits(examples, examples[:1], examples[-1:], "said")

    def parse(self, text: str) -> tuple[str, ...]:
        return tuple(text.split())

    def render(self, output: tuple[str, ...]) -> str:
        return self.between.join(output)


def test_pieces_of_new_words_may_be_known(folder: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """No warning says that no model can give a word, if its pieces can be given."""
    for name, line in {"train": "a\tab b", "dev": "b\tabb b", "test": "a b\tabb"}.items():
        (tmp_path / f"{name}.tsv").write_text(f"{line}\n", encoding="utf-8")
    train_, dev, test = (str(tmp_path / f"{name}.tsv") for name in ("train", "dev", "test"))
    text = Tsv(train=train_, dev=dev, test=test, source="spaces", target="spaces")
    PretrainedPieces(text=text, path_or_name=folder).load()
    assert not [each for each in recwarn if each.category is NewLabelWarning]
    with pytest.warns(NewLabelWarning):
        text.load()


def test_words_become_pieces_and_are_scored_as_words(folder: str) -> None:
    task = PretrainedPieces(text=Said(said=("abb a\tab d", "c\ta abb c")), path_or_name=folder)
    train_, *_ = (splits := task.load()).train, splits.dev
    assert train_[0].source == ("ab", "##b", "a")
    assert train_[1].references == (("a", "ab", "##b", "c"),)
    assert train_[1].wording is not None
    assert train_[1].wording.references == (("a", "abb", "c"),)
    assert train_[1].wording.words(("a", "ab", "##b", "c")) == ("a", "abb", "c")
    assert task.render(("ab", "##b", "a")) == task.show(("ab", "##b", "a")) == "abb a"
    assert task.parse("abb  a") == ("ab", "##b", "a")
    assert task.metrics == (Bleu(tokenize="none"),)


def test_what_the_tokenizer_loses_is_told(folder: str) -> None:
    task = PretrainedPieces(text=Said(said=("a\ta d", "c\tex a")), path_or_name=folder)
    with pytest.warns(LossyPiecesWarning, match=r"line 1: .* spell '\[UNK\] a'; this affects 2 of 4 references"):
        task.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (Said(said=("\ta",)), r"line 0 must hold text"),
        (Said(between="-"), r"references are words between spaces or characters, but Said writes them in another way"),
    ],
)
def test_text_that_cannot_be_cut_is_refused(folder: str, text: Task, message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        PretrainedPieces(text=text, path_or_name=folder).load()


def test_pieces_of_pieces_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"PretrainedPieces\.text must be a task in words or characters"):
        PretrainedPieces(text=PretrainedPieces(text=Copying(), path_or_name="one"), path_or_name="other")


def as_many(output: str, reference: str) -> float:
    """A reward that sees text, in which a piece begins with its mark only where nothing comes before it."""
    assert " ##" not in output
    assert "#" not in reference
    return -float(abs(len(output) - len(reference)))


def test_a_run_on_text_is_scored_and_predicts_text(folder: str, tmp_path: Path) -> None:
    """Of characters, which the tokenizer's pieces of two letters join."""
    task = PretrainedPieces(text=Copying(train=8, longest=3), path_or_name=folder)
    experiment = Experiment(
        task=task,
        model=PretrainedSeq2Seq(path_or_name=folder, length_ratio=1.0, length_extra=1),
        objective=MinimumRisk(reward=FunctionReward(function=f"{__name__}:as_many", on="text")),
        trainer=Trainer(epochs=1, batch_tokens=16),
    )
    run = train(experiment, root=tmp_path, device="cpu")
    again = Run.load(run.folder.path)
    assert again.predict(["ab"]) == run.predict(["ab"])
    dev = task.load().dev
    assert run.evaluate(dev) == pytest.approx(run.result.scores["dev"])
    assert {row.references for row in run.predictions("dev")} <= {
        tuple(" ".join(each) for each in example.references) for example in task.text.load().dev
    }
    assert all(spelt(example.source) for example in dev)
    assert replace(experiment, task=replace(task, path_or_name=folder)).identity("x") == experiment.identity("x")
