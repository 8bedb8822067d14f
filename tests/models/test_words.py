"""Words and their spellings as vectors."""

import pytest
import torch
from torch import nn

from structpred.models import CharacterCNN, WordEmbedding
from structpred.models.inputs import ConvolvedCharacters, WordTable
from structpred.models.taggers import Tagger
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.vocabulary import Vocabularies
from tests.support.tagging import TAGGERS, tiny_tagger
from tests.support.tiny import double_precision

SENTENCES = [("ab", "a", "ab", "bbb"), (), ("b",)]
KNOWN = Vocabularies.of(SENTENCES, [("X",)])


def built(encoder: WordEmbedding, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    sizes = Sizes(
        num_inputs=len(KNOWN.inputs), num_labels=2, label_counts=(1, 1), references=1, characters=len(KNOWN.characters)
    )
    with double_precision():
        return encoder.build(sizes, 5)


def read(encoder: WordEmbedding, sentences: list[tuple[str, ...]]) -> Sequences:
    return encoder.read(sentences, KNOWN).gather(torch.arange(len(sentences)))


def vectors(encoder: WordEmbedding, sentences: list[tuple[str, ...]]) -> torch.Tensor:
    found: torch.Tensor = built(encoder).eval()(read(encoder, sentences))
    return found


@pytest.mark.parametrize(
    ("encoder", "size"),
    [
        (WordEmbedding(characters=None), 5),
        (WordEmbedding(size=7, characters=None), 7),
        (WordEmbedding(size=7, characters=CharacterCNN(filters=4)), 11),
        (WordEmbedding(characters=CharacterCNN(filters=4, width=2)), 9),
    ],
)
def test_the_vector_of_a_word_is_as_large_as_is_said(encoder: WordEmbedding, size: int) -> None:
    assert built(encoder).size == size
    assert vectors(encoder, SENTENCES).shape == (3, 4, size)


def test_the_same_word_has_the_same_vector_wherever_it_stands() -> None:
    together = vectors(WordEmbedding(), SENTENCES)
    torch.testing.assert_close(together[0, 0], together[0, 2], rtol=0, atol=0)
    for i, sentence in enumerate(SENTENCES):
        alone = vectors(WordEmbedding(), [sentence])
        torch.testing.assert_close(alone[0, : len(sentence)], together[i, : len(sentence)], rtol=0, atol=1e-12)


def test_unknown_words_share_a_vector_and_differ_by_their_spelling() -> None:
    found = vectors(WordEmbedding(size=5), [("ba", "baa", "ä")])
    assert not found[0, :, :5].any(), "never trained, so zero"
    spellings = found[0, :, 5:]
    assert len({tuple(row) for row in spellings.tolist()}) == 3


@pytest.mark.parametrize("sentences", [[], [()], [(), ()]], ids=["none", "one empty", "two empty"])
def test_a_batch_without_words_has_no_vectors(sentences: list[tuple[str, ...]]) -> None:
    assert vectors(WordEmbedding(), sentences).shape == (len(sentences), 0, 35)


def test_word_dropout_hides_words_but_not_spellings_and_only_in_training() -> None:
    encoder = WordEmbedding(size=5, word_dropout=0.5)
    module, batch = built(encoder), read(encoder, [("ab", "a", "b") * 50])
    assert isinstance(module, WordTable)
    with torch.no_grad():
        module.words.weight[-1] = 9.0
    whole = module.eval()(batch)
    torch.manual_seed(1)
    dropped = module.train()(batch)
    hidden = (dropped[..., :5] == 9.0).all(-1)
    assert 45 < hidden.sum() < 105, "about half of 150; outside once in a million"
    torch.testing.assert_close(dropped[..., 5:], whole[..., 5:], rtol=0, atol=0)
    torch.testing.assert_close(dropped[~hidden], whole[~hidden], rtol=0, atol=0)
    assert not (whole[..., :5] == 9.0).all(-1).any()


def test_no_word_dropout_draws_nothing() -> None:
    module = built(WordEmbedding()).train()
    before = torch.get_rng_state()
    module(read(WordEmbedding(), SENTENCES))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_convolved_characters_are_those_of_torch(width: int) -> None:
    torch.manual_seed(2)
    with double_precision():
        network = CharacterCNN(embedding=3, filters=4, width=width).build(6)
    assert isinstance(network, ConvolvedCharacters)
    rows = [[0, 1, 2, 3, 4], [5], [6, 6]]
    found = network(Sequences.of(rows))
    kernel = network.filters.weight.view(4, 3, width)
    for i, row in enumerate(rows):
        characters = network.table(torch.tensor(row)).T
        before = (width - 1) // 2
        padded = nn.functional.pad(characters, (before, width - 1 - before))
        expected = nn.functional.conv1d(padded, kernel, network.filters.bias).amax(-1)
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-12)


def test_an_empty_spelling_is_zero_and_harms_no_gradient() -> None:
    network = CharacterCNN(embedding=3, filters=4).build(6)
    found = network(Sequences.of([[], [1, 2]]))
    assert not found[0].any()
    found.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    assert network(Sequences.of([[], []])).shape == (2, 4)
    assert network(Sequences.of([])).shape == (0, 4)


def test_garbage_behind_a_spelling_changes_nothing() -> None:
    network = CharacterCNN(embedding=3, filters=4).build(6)
    clean = network(Sequences.of([[1, 2], [3]]))
    garbage = Sequences(torch.tensor([[1, 2, 5, 5], [3, 4, 4, 4]]), torch.tensor([2, 1]))
    torch.testing.assert_close(network(garbage), clean)


@pytest.mark.parametrize("kind", TAGGERS)
def test_gradients_through_words_are_those_of_finite_differences(kind: type[Tagger]) -> None:
    encoder = WordEmbedding(size=2, word_dropout=0.3, characters=CharacterCNN(embedding=2, filters=2))
    module = tiny_tagger(kind, inputs=encoder, dropout=0.2).train()
    names, batch = [name for name, _ in module.named_parameters()], read(encoder, SENTENCES)

    def likelihood(*parameters: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)
        p = torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), batch)
        found: torch.Tensor = p.log_prob(Sequences.of([[0, 1, 1, 0], [], [1]]).candidates())
        return found

    assert torch.autograd.gradcheck(likelihood, tuple(module.parameters()), fast_mode=True)
