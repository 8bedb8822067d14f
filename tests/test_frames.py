import pytest
import torch

from structpred.frames import FlatFrames, Frames

VALUES = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
FLAT = FlatFrames.of([[0, 2, 0], [], [1]], VALUES)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 2], [1], []], ids=["ragged", "twice", "an empty one", "none"])
def test_gathering_gives_the_chosen_sequences(rows: list[int]) -> None:
    frames = FLAT.gather(torch.tensor(rows, dtype=torch.long))
    kinds = [[[0, 2, 0], [], [1]][row] for row in rows]
    assert frames.lengths.tolist() == [len(each) for each in kinds]
    for values, length, each in zip(frames.values, frames.lengths.tolist(), kinds, strict=True):
        assert torch.equal(values[:length], VALUES[each])
        assert not values[length:].any(), "zeros in the padding"
    assert len(frames) == len(rows)
    assert frames.mask().sum(1).tolist() == frames.lengths.tolist()
    again = Frames.from_tensors(*frames.tensors())
    assert torch.equal(again.values, frames.values)


def test_moving_keeps_everything() -> None:
    assert len(FLAT.to("meta")) == 3
    frames = FLAT.gather(torch.tensor([0, 2])).to("meta")
    assert frames.values.shape == (2, 3, 2)
    assert frames.device.type == "meta"


def test_inputs_without_a_single_frame_keep_the_size_of_frames() -> None:
    nothing = FlatFrames.of([[], []], torch.zeros(0, 2))
    assert nothing.gather(torch.tensor([1, 0])).values.shape == (2, 0, 2)
