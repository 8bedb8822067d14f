"""Input symbols with several columns, and encoders over one of them."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from structpred.errors import ConfigError, DataError
from structpred.experiment import Experiment
from structpred.models import CRF, Beside, CharacterCNN, Column, FrameFeatures, SymbolEmbedding, WordEmbedding
from structpred.models.base import Featurizer
from structpred.objectives import MaximumLikelihood
from structpred.runs import Run, train
from structpred.sequences import FlatSequences
from structpred.task import Example, Sizes, Splits
from structpred.tasks import Conll
from structpred.training import Adam, Trainer
from structpred.training.data import EncodedData, sizes_of
from structpred.vocabulary import Symbols, Vocabularies

PLAIN: list[Symbols] = [("ab", "a", "ab"), (), ("b",)]
TAGS: list[Symbols] = [("X", "Y", "Z"), (), ("X",)]
JOINED = [tuple(f"{word}￨{tag}" for word, tag in zip(*pair, strict=True)) for pair in zip(PLAIN, TAGS, strict=True)]
KNOWN = Vocabularies.of(JOINED, [("L", "M")])
WORDS = WordEmbedding(size=3, characters=CharacterCNN(filters=4))


def sizes_in(vocabularies: Vocabularies) -> Sizes:
    return sizes_of(vocabularies, FlatSequences.of([[0, 1]]))


def network(encoder: Featurizer, sizes: Sizes) -> nn.Module:
    torch.manual_seed(0)
    return encoder.build(sizes, 5).eval()


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("part", [WORDS, SymbolEmbedding()], ids=["words", "symbols"])
def test_a_column_is_read_as_if_it_stood_alone(part: Featurizer, index: int) -> None:
    column, alone = Column(index=index, part=part), (PLAIN, TAGS)[index]
    vocabularies = Vocabularies.of(alone, [("L", "M")])
    unseen = [("ab", "c", "Z")]
    joined = [tuple(f"{symbol}￨{symbol}" for symbol in unseen[0])]
    rows = torch.arange(4)
    expected = network(part, sizes_in(vocabularies))(part.read([*alone, *unseen], vocabularies).gather(rows))
    found = network(column, sizes_in(KNOWN))(column.read([*JOINED, *joined], KNOWN).gather(rows))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_size_of_a_part_may_be_said() -> None:
    both = Beside(parts=(Column(index=0, part=WORDS), Column(index=1, part=SymbolEmbedding(), size=2)))
    module = both.build(sizes_in(KNOWN), 5)
    assert module.size == 3 + 4 + 2
    assert both.read(JOINED, KNOWN).content == "words and symbols"
    tables = [each.weight.shape for each in module.modules() if isinstance(each, nn.Embedding)]
    assert tables == [(4, 3), (3, 30), (4, 2)]  # ab, a, b; a, b; X, Y, Z; and one more each for the unknown


@pytest.mark.parametrize(
    "symbols",
    [("a", "b"), ("a￨X", "b"), ("a￨X", "b￨Y￨Z"), ()],
    ids=["one column", "not all", "other numbers", "no symbols"],
)
def test_symbols_have_columns_if_all_have_equally_many(symbols: Symbols) -> None:
    assert Vocabularies.of([symbols], []).columns == ()
    assert sizes_in(Vocabularies.of([symbols], [("L", "M")])).columns == ()


def test_a_column_counts_its_own_symbols_and_characters() -> None:
    assert sizes_in(KNOWN).columns == ((3, 2), (3, 3))
    assert [column.labels for column in KNOWN.columns] == [KNOWN.labels] * 2
    rare = Vocabularies.of([("a￨X", "a￨X", "b￨X")], [], min_count=2)
    assert [column.inputs.symbols for column in rare.columns] == [("a",), ("X",)]


@pytest.mark.parametrize(
    ("make", "error", "expected"),
    [
        (
            lambda: Column(index=0, part=FrameFeatures()),
            ConfigError,
            "Column.part must read symbols, but FrameFeatures reads recordings; use it alone",
        ),
        (
            lambda: Column(index=0, part=SymbolEmbedding(min_count=2)),
            ConfigError,
            "Column.part has no count of its own, but SymbolEmbedding has min_count 2",
        ),
        (lambda: Column(index=-1, part=WORDS), ConfigError, "Column.index must be at least 0, but got -1"),
        (
            lambda: Column(index=2, part=WORDS).read(JOINED, KNOWN),
            ConfigError,
            "Column.index is 2, counted from 0, but the input symbols of the training data have 2 columns; columns are",
        ),
        (
            lambda: Column(index=0, part=WORDS).read(PLAIN, Vocabularies.of(PLAIN, [])),
            ConfigError,
            "but the input symbols of the training data do not have several columns, all of them equally many",
        ),
        (
            lambda: Column(index=0, part=WORDS).build(sizes_in(Vocabularies.of(PLAIN, [("L", "M")])), 5),
            ConfigError,
            "but the input symbols of the training data do not have several columns, all of them equally many",
        ),
        (
            lambda: Column(index=0, part=WORDS).read([("a￨X", "a")], KNOWN),
            DataError,
            "the input symbol 'a' must have 2 columns with '￨' between them, as in the training data, but it has 1",
        ),
    ],
)
def test_columns_that_are_not_there_are_refused(
    make: Callable[[], object], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=re.escape(expected)):
        make()


@pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning")  # few different sentences
def test_a_run_reads_columns_from_a_file_and_from_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a NN B-X\n\nb VB O\n\nb NN B-X\n\na VB O\n\n" * 8, encoding="utf-8")
    inputs = Beside(parts=(Column(index=0, part=WORDS), Column(index=1, part=SymbolEmbedding(), size=2)))
    task = Conll(train=str(path), dev=str(path), test=str(path), beside=(1,))
    experiment = Experiment(
        task=task,
        model=CRF(inputs=inputs, hidden=8, dropout=0.0),
        objective=MaximumLikelihood(),
        optimiser=Adam(lr=0.05),
        trainer=Trainer(epochs=10),
    )
    assert Experiment.from_json(experiment.to_json()) == experiment
    run = train(experiment, root=str(tmp_path / "runs"))
    again = Run.load(run.folder)
    assert again.predict(["b￨NN", "a￨VB", "c￨VB"]) == ["B-X", "O", "O"]  # the tag decides, not the word
    with pytest.raises(
        DataError, match=re.escape("every word must have 2 columns with '￨' between them, none of them")
    ):
        again.predict(["b"])
    alone = replace(experiment, task=replace(task, beside=()))
    with pytest.raises(ConfigError, match="training data do not have several columns, all of them equally many"):
        train(alone, root=str(tmp_path / "runs"))


def test_dev_symbols_without_columns_are_refused_before_training() -> None:
    splits = Splits(
        (Example(JOINED[0], (("L", "M", "L"),), where="train"),),
        (Example(PLAIN[0], (("L", "M", "L"),), where="dev line 1"),),
        (),
        digest="columns",
    )
    model = CRF(inputs=Beside(parts=(Column(index=0, part=WORDS),)))
    with pytest.raises(DataError, match="dev line 1: the input symbol 'ab' must have 2 columns"):
        EncodedData.of(splits, model)
