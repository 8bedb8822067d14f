"""Input encoders side by side."""

import re
from collections.abc import Callable

import pytest
import torch

from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import CRF, Beside, CharacterCNN, FrameFeatures, SymbolEmbedding, WordEmbedding
from structpred.models.base import Featurizer
from structpred.objectives import MaximumLikelihood
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.training.data import Tokenizer
from structpred.vocabulary import Vocabularies
from tests.support.tiny import Copying

SENTENCES = [("ab", "a", "ab"), (), ("b",)]
KNOWN = Vocabularies.of(SENTENCES, [("X", "Y")])
SIZES = Sizes(
    num_inputs=len(KNOWN.inputs), num_labels=2, label_counts=(1, 1), references=1, characters=len(KNOWN.characters)
)
PARTS: tuple[Featurizer, ...] = (WordEmbedding(size=3, characters=CharacterCNN(filters=4)), SymbolEmbedding())


def test_vectors_of_all_parts_stand_at_every_position_in_order() -> None:
    torch.manual_seed(0)
    both = Beside(parts=PARTS)
    module = both.build(SIZES, 5)
    flat = both.read(SENTENCES, KNOWN)
    assert flat.content == "words and symbols"
    found = module(flat.gather(torch.tensor([2, 0])))
    assert module.size == 12
    assert found.shape == (2, 3, 12)
    readers = module.get_submodule("readers").children()
    for part, reader, columns in zip(PARTS, readers, (slice(0, 7), slice(7, 12)), strict=True):
        alone = reader(part.read(SENTENCES, KNOWN).gather(torch.tensor([2, 0])))
        torch.testing.assert_close(found[..., columns], alone, rtol=0, atol=0)


def test_parts_survive_all_that_happens_to_a_batch() -> None:
    flat = Beside(parts=PARTS).read(SENTENCES, KNOWN)
    assert len(flat) == 3
    batch = flat.gather(torch.tensor([0, 1, 2]))
    again = Sequences.from_tensors(*batch.tensors()).select(torch.tensor([2, 0]))
    assert again.content == "words and symbols"
    assert again.lengths.tolist() == [1, 3]
    assert again.tolist() == again.parts[0].tolist() == again.parts[1].tolist()
    assert {part.lengths.device.type for part in flat.to("meta").parts} == {"meta"}
    assert {part.device.type for part in batch.to("meta").parts} == {"meta"}
    assert not FlatSequences.of([[1]]).gather(torch.tensor([0])).parts


def test_one_vocabulary_is_shared_and_words_are_open() -> None:
    both = Beside(parts=(Beside(parts=PARTS), SymbolEmbedding()), min_count=2)
    task = Copying(train=4, longest=2)
    codec = Tokenizer.of(task.load().train, both)
    assert codec.encoder.open_vocabulary
    made = Experiment(task=task, model=CRF(inputs=both), objective=MaximumLikelihood())
    assert Experiment.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Beside(parts=()), "Beside.parts must hold at least one input encoder, but it is empty"),
        (
            lambda: Beside(parts=(FrameFeatures(),)),
            "Beside.parts must read symbols, but FrameFeatures reads recordings",
        ),
        (
            lambda: Beside(parts=(SymbolEmbedding(min_count=2),)),
            "Beside.parts share one vocabulary, but SymbolEmbedding has min_count 2; set Beside.min_count instead",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(make: Callable[[], Beside], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        make()
