"""Vectors at every input position, each in the context of all others."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from structpred.sequences import Inputs


def locked_dropout(module: nn.Module, like: Tensor, rate: float) -> Float[Tensor, "batch 1 features"]:
    """A dropout mask ``[batch, 1, features]`` shared by all positions of an example (Gal and Ghahramani 2016).

    All ones when the module is not training. Shared masks make one distribution out of one forward pass: an output
    is drawn and scored under the same mask.
    """
    ones = like.new_ones(like.shape[0], 1, like.shape[-1])
    return functional.dropout(ones, rate, module.training)


@dataclass(frozen=True)
class Encoded:
    """An encoded batch.

    Attributes:
        memory: one vector per input position, the end mark included.
        mask: True at real positions.
        summary: the last state of each direction, side by side.
    """

    memory: Float[Tensor, "batch time features"]
    mask: Bool[Tensor, "batch time"]
    summary: Float[Tensor, "batch features"]


class RecurrentEncoder(nn.Module):
    """A bidirectional LSTM over the vectors of an input encoder.

    The two directions are separate LSTMs and the backward one reads each sequence reversed within its own length:
    padding comes last for both and changes nothing, without the cost of packing.

    Args:
        reader: from a batch of inputs to ``[batch, time, reader.size]``.
        hidden: size of each direction's state.
        layers: number of bidirectional layers.
        dropout: rate of the masks on the reader's vectors and on every layer's output.
        end_mark: append a learned vector to every input, so that an empty input is an input too.
    """

    def __init__(self, reader: nn.Module, *, hidden: int, layers: int, dropout: float, end_mark: bool = False) -> None:
        super().__init__()
        self.reader, self.dropout = reader, dropout
        size: int = reader.size  # type: ignore[assignment]  # nn.Module types every attribute as Tensor or Module
        self.end = nn.Parameter(torch.randn(size) * size**-0.5) if end_mark else None
        sizes = [size] + [2 * hidden] * (layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)

    def forward(self, inputs: Inputs) -> Encoded:
        """Encode ``[batch, time]`` into as many positions, and one more with an end mark."""
        features, lengths = self.reader(inputs), inputs.lengths
        if self.end is not None:
            features, lengths = _with_end(features, lengths, self.end), lengths + 1
        last = lengths.unsqueeze(1) - 1
        time = torch.arange(features.shape[1], device=lengths.device)
        mask = time <= last
        mirror = torch.where(mask, last - time, time).unsqueeze(-1)  # each sequence reversed, padding left in place
        features = features * locked_dropout(self, features, self.dropout)
        summary = features.new_zeros(len(lengths), 0)
        for forward, backward in zip(self.forwards, self.backwards, strict=True):
            ahead = forward(features)[0]
            behind = backward(features.gather(1, mirror.expand_as(features)))[0]
            summary = torch.cat([_at(ahead, last), _at(behind, last)], -1)
            features = torch.cat([ahead, behind.gather(1, mirror.expand_as(behind))], -1)
            features = features * locked_dropout(self, features, self.dropout)
        return Encoded(features, mask, summary)


def _with_end(features: Tensor, lengths: Tensor, end: Tensor) -> Float[Tensor, "batch longer size"]:
    """The mark right behind each sequence."""
    longer = functional.pad(features, (0, 0, 0, 1))
    place = torch.arange(longer.shape[1], device=lengths.device) == lengths.unsqueeze(1)
    return torch.where(place.unsqueeze(-1), end.to(longer.dtype), longer)


def _at(states: Float[Tensor, "batch time hidden"], position: Tensor) -> Float[Tensor, "batch hidden"]:
    index = position.clamp(min=0).unsqueeze(-1).expand(-1, 1, states.shape[-1])
    return states.gather(1, index).squeeze(1)
