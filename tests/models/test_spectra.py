import re

import numpy as np
import pytest
import torch

from structpred.errors import DataError
from structpred.models import Featurizer, FrameFeatures, Seq2Seq, SymbolEmbedding
from structpred.sequences import Recording, Source
from structpred.task import Example, Sizes
from structpred.tasks.reading import digest_of
from structpred.training.data import Tokenizer
from structpred.vocabulary import Vocabularies

NOTHING = Vocabularies.of([], [])


def recording(length: int, *, features: int = 2, name: str = "utterance", first: float = 1.0) -> Recording:
    return Recording(name, first + np.arange(length * features, dtype=np.float32).reshape(length, features))


def read(encoder: FrameFeatures, *sources: Recording) -> list[list[list[float]]]:
    flat = encoder.read(sources, NOTHING)
    batch = flat.gather(torch.arange(len(flat)))
    assert batch.vectors is not None
    return [values[:length].tolist() for values, length in zip(batch.vectors, batch.lengths.tolist(), strict=True)]


@pytest.mark.parametrize("stack", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [None, 1, 2, 4, 7])
def test_positions_are_frames_side_by_side(stack: int, stride: int | None) -> None:
    sources = [recording(length, first=100.0 * length + 1) for length in range(9)]
    found = read(FrameFeatures(features=2, stack=stack, stride=stride), *sources)
    for source, positions in zip(sources, found, strict=True):
        frames, step = source.frames.tolist(), stride or stack
        expected = []
        for start in range(0, len(frames), step):
            window = [frames[i] if i < len(frames) else [0.0, 0.0] for i in range(start, start + stack)]
            expected.append([number for frame in window for number in frame])
        assert positions == expected


def test_no_recordings_are_no_inputs() -> None:
    flat = FrameFeatures(features=2).read([], NOTHING)
    assert flat.content == "vectors"
    assert len(flat) == 0


def test_frames_of_another_size_are_refused() -> None:
    expected = "utterance must have 120 numbers in a frame, but it has 2; set FrameFeatures.features"
    with pytest.raises(DataError, match=re.escape(expected)):
        FrameFeatures().read([recording(3)], NOTHING)


@pytest.mark.parametrize(
    ("encoder", "source", "expected"),
    [
        (
            SymbolEmbedding(),
            recording(2),
            "'utterance' must be symbols for a model whose inputs are SymbolEmbedding, but it is a recording",
        ),
        (
            FrameFeatures(),
            ("a", "b"),
            "'a b' must be a recording for a model whose inputs are FrameFeatures, but it is symbols",
        ),
    ],
    ids=["symbols", "frames"],
)
def test_an_encoder_refuses_the_other_kind(encoder: Featurizer, source: Source, expected: str) -> None:
    with pytest.raises(DataError, match=re.escape(expected)):
        Tokenizer.of([Example(source, (("x",),), "here")], encoder)
    with pytest.raises(DataError, match=re.escape(expected)):
        Tokenizer(NOTHING, encoder).read([source])


def test_recordings_are_equal_by_their_frames() -> None:
    one, same, other = recording(3), recording(3, name="again"), recording(3, first=2.0)
    assert one == same
    assert len({one, same, other}) == 2
    assert one != other
    assert one != recording(2, features=3), "the same numbers in another shape"
    assert one != ("utterance",)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(DataError, match=r"^noise must have finite numbers in every frame, but it has others"):
        Recording("noise", np.array([[0.0, number]]))


def test_the_digest_of_a_task_knows_what_was_recorded() -> None:
    def digest(source: Recording) -> str:
        return digest_of([Example(source, (("x",),), "here")])

    assert digest(recording(3)) == digest(recording(3, name="again"))
    assert digest(recording(3)) != digest(recording(3, first=2.0))


def test_padding_and_batching_change_nothing() -> None:
    torch.manual_seed(0)
    encoder = FrameFeatures(features=2, stack=2)
    network = Seq2Seq(inputs=encoder, embedding=4, hidden=6).build(
        Sizes(num_inputs=0, num_labels=3, label_counts=(1, 1, 1), references=1)
    )
    network.eval()
    inputs = encoder.read([recording(5), recording(0), recording(2)], NOTHING)
    together = network.encoder(inputs.gather(torch.tensor([0, 1, 2])))
    for row, length in enumerate([4, 1, 2]):  # positions and the end mark
        alone = network.encoder(inputs.gather(torch.tensor([row])))
        torch.testing.assert_close(together.memory[row, :length], alone.memory[0, :length])
        torch.testing.assert_close(together.summary[row], alone.summary[0])
