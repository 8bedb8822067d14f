"""Input encoders of one's own: what they read and build is checked, alone and beside others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from structpred.errors import CodeError, ConfigError, DataError
from structpred.experiment import Experiment
from structpred.models import Beside, LSTMTagger, SymbolEmbedding
from structpred.models.base import Featurizer
from structpred.models.inputs import CharacterCNN, WordEmbedding
from structpred.objectives import MaximumLikelihood
from structpred.registry import inputs, spellings
from structpred.runs import Run, train
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.tasks import LetterTagging
from structpred.training import Trainer
from structpred.vocabulary import Symbols, Vocabularies


@inputs.register("test-odd")
@dataclass(frozen=True, kw_only=True)
class Odd(SymbolEmbedding):
    """Symbols, changed by a function where they are read, built or looked up."""

    open_vocabulary: ClassVar[bool] = True

    read_as: ClassVar[list[Callable[[Any], Any]]] = []
    built_as: ClassVar[list[Callable[[Any], Any]]] = []
    seen_as: ClassVar[list[Callable[[Any], Any]]] = []

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> Any:
        return self.read_as[0](super().read(sources, vocabularies))

    def build(self, sizes: Sizes, features: int) -> Any:
        return self.built_as[0](Changed(super().build(sizes, features)))


class Changed(nn.Module):
    def __init__(self, table: nn.Module) -> None:
        super().__init__()
        self.table, self.size = table, table.size

    def forward(self, symbols: Sequences) -> Any:
        return Odd.seen_as[0](self.table(symbols))


@spellings.register("test-odd")
@dataclass(frozen=True, kw_only=True)
class OddSpelling(CharacterCNN):
    """A convolution, changed where it is built or called."""

    def build(self, characters: int) -> Any:
        return Odd.built_as[0](Changed(super().build(characters)))


@pytest.fixture(autouse=True)
def _as_it_is() -> None:
    Odd.read_as[:] = Odd.built_as[:] = Odd.seen_as[:] = [lambda given: given]


def train_with(encoder: Featurizer, root: Path) -> Run:
    task = LetterTagging(size=20, held_out=10)
    model = LSTMTagger(embedding=4, hidden=4, inputs=encoder)
    return train(
        Experiment(task=task, model=model, objective=MaximumLikelihood(), trainer=Trainer(epochs=1)), root=root
    )


def fails(given: object) -> Any:
    raise KeyError(type(given))


@pytest.mark.parametrize("encoder", [Odd(), Beside(parts=(SymbolEmbedding(), Odd()))], ids=["alone", "beside"])
@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        (Odd.read_as, lambda read: None, r"Odd\.read must return FlatSequences, but returned None"),
        (Odd.read_as, lambda read: FlatSequences.of([[0]]), r"a sequence for each of 20 sources, but returned 1"),
        (Odd.built_as, lambda network: None, r"Odd\.build must return a torch\.nn\.Module, but returned None"),
        (Odd.built_as, nn.Sequential, "whose attribute size is a whole number, but returned one with size None"),
        (Odd.seen_as, lambda vectors: vectors[:1], r"of shape \(\d+, \d+, 4\), but returned \(1, \d+, 4\); nothing is"),
        (Odd.seen_as, lambda vectors: vectors[..., :3], r"but returned \(\d+, \d+, 3\); nothing is broadcast"),
        (Odd.seen_as, lambda vectors: (vectors,), r"a tensor \[batch, time, size\], but returned a tuple"),
        (Odd.seen_as, lambda vectors: vectors.double(), "like its weights', but returned numbers of torch.float64"),
    ],
)
def test_what_one_of_your_own_gives_is_checked(
    encoder: Featurizer, where: list[Any], change: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    where[:] = [change]
    with pytest.raises(ConfigError, match=said):
        train_with(encoder, tmp_path)


@pytest.mark.parametrize("where", [Odd.read_as, Odd.built_as, Odd.seen_as], ids=["read", "build", "module"])
def test_an_exception_is_one_sentence(where: list[Any], tmp_path: Path) -> None:
    where[:] = [fails]
    with pytest.raises(
        CodeError, match=r"(Odd|Changed)\.(read|build|forward), line \d+ of .*test_own_inputs\.py, failed with KeyError"
    ):
        train_with(Odd(), tmp_path)


@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        (Odd.built_as, lambda network: None, r"OddSpelling\.build must return a torch\.nn\.Module, but returned None"),
        (
            Odd.seen_as,
            lambda vectors: vectors[:1],
            r"a tensor \[words, size\] of shape \(\d+, 30\), but returned \(1, 30\)",
        ),
        (Odd.seen_as, lambda vectors: vectors[:, :1], r"of shape \(\d+, 30\), but returned \(\d+, 1\); nothing is"),
    ],
)
def test_so_is_what_a_spelling_gives(where: list[Any], change: Callable[[Any], Any], said: str, tmp_path: Path) -> None:
    where[:] = [change]
    with pytest.raises(ConfigError, match=said):
        train_with(WordEmbedding(characters=OddSpelling()), tmp_path)


def test_a_tagger_needs_a_position_for_every_label_and_parts_the_same_positions(tmp_path: Path) -> None:
    Odd.read_as[:] = [lambda read: FlatSequences.of([[0]] * len(read))]
    with pytest.raises(DataError, match=r"one label per input position, but Odd reads 1 positions where there are \d"):
        train_with(Odd(), tmp_path)
    with pytest.raises(ConfigError, match=r"same positions, but SymbolEmbedding and Odd read inputs of other lengths"):
        train_with(Beside(parts=(SymbolEmbedding(), Odd())), tmp_path)


def test_so_do_the_inputs_of_dev_and_of_predictions(tmp_path: Path) -> None:
    Odd.read_as[:] = [lambda read: read if len(read) >= 20 else FlatSequences.of([[0]] * len(read))]
    with pytest.raises(
        DataError, match=r"must be read as \d positions, one a label, but Odd reads 1; let it read each"
    ):
        train_with(Odd(), tmp_path)
    Odd.read_as[:] = [lambda read: read]
    run = train_with(Odd(), tmp_path)
    Odd.read_as[:] = [lambda read: FlatSequences.of([[0]] * len(read))]
    for call in (lambda: run.predict(["abc"]), lambda: run.n_best(["abc"], 2)):
        with pytest.raises(
            DataError, match=r"the input 'a b c' must be read as 3 positions, one a label, but Odd reads 1"
        ):
            call()


@pytest.mark.filterwarnings("ignore::structpred.training.data.UnknownSymbolWarning")
def test_one_that_is_right_trains_and_is_read_back(tmp_path: Path) -> None:
    run = train_with(Odd(), tmp_path)
    again = Run.load(run.folder)
    assert again.predict(["abc"]) == run.predict(["abc"])
    same = replace(run.experiment, model=replace(run.experiment.model, inputs=SymbolEmbedding()))  # type: ignore[call-arg]
    torch.testing.assert_close(again.model.state_dict(), run.model.state_dict())
    assert train(same, root=tmp_path).result.scores == run.result.scores
