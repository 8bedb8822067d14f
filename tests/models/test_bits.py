import re

import pytest
import torch
from torch import nn

from structpred.errors import DataError
from structpred.models import CRF, BitImages, LSTMTagger
from structpred.task import Example, Sizes
from structpred.training.data import Tokenizer
from structpred.vocabulary import Vocabularies

NOTHING = Vocabularies.of([], [])
SOURCES = [("0110", "1111"), (), ("0000",)]


def test_a_symbol_is_its_pixels() -> None:
    frames = BitImages(pixels=4).read(SOURCES, NOTHING).gather(torch.tensor([0, 1, 2]))
    assert frames.lengths.tolist() == [2, 0, 1]
    assert frames.vectors is not None
    assert frames.vectors[0].tolist() == [[0, 1, 1, 0], [1, 1, 1, 1]]
    assert frames.vectors.dtype == torch.float32
    assert len(BitImages().read([(), ()], NOTHING)) == 2
    assert len(BitImages().read([], NOTHING)) == 0


def test_training_pictures_are_no_vocabulary() -> None:
    codec = Tokenizer.of([Example(source, (("a",) * len(source),), "") for source in SOURCES], BitImages(pixels=4))
    assert len(codec.vocabularies.inputs) == len(codec.vocabularies.characters) == 0
    assert codec.vocabularies.labels.symbols == ("a",)
    assert codec.read([("1010",)]).lengths.tolist() == [1]


@pytest.mark.parametrize("symbol", ["011", "01101", "0120", "01 0", "０1１0"])
def test_other_symbols_are_refused(symbol: str) -> None:
    expected = f"an input symbol must be a picture of 4 pixels, each 0 or 1, but one is {symbol!r} of {len(symbol)}"
    with pytest.raises(DataError, match=re.escape(expected)):
        BitImages(pixels=4).read([("0110", symbol)], NOTHING)


@pytest.mark.parametrize(("hidden", "size"), [(None, 4), (7, 7)])
def test_the_module_says_its_size(hidden: int | None, size: int) -> None:
    module = BitImages(pixels=4, hidden=hidden).build(
        Sizes(num_inputs=0, num_labels=2, label_counts=(1, 1), references=1), 9
    )
    assert module.size == size
    seen = module(BitImages(pixels=4).read(SOURCES, NOTHING).gather(torch.tensor([0, 2])))
    assert seen.shape == (2, 2, size)
    assert (seen >= 0).all()


@pytest.mark.parametrize("model", [CRF, LSTMTagger])
def test_padding_and_batching_change_nothing(model: type[CRF | LSTMTagger]) -> None:
    torch.manual_seed(0)
    encoder = BitImages(pixels=4, hidden=3)
    network: nn.Module = model(inputs=encoder, hidden=4).build(
        Sizes(num_inputs=0, num_labels=3, label_counts=(1, 1, 1), references=1)
    )
    network.eval()
    inputs = encoder.read(SOURCES, NOTHING)
    together = network(inputs.gather(torch.tensor([0, 1, 2]))).marginals()
    for row, length in enumerate([2, 0, 1]):
        alone = network(inputs.gather(torch.tensor([row]))).marginals()
        torch.testing.assert_close(together[row, :length], alone[0, :length])
