"""Input symbols to one vector per position."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from structpred.sequences import Sequences


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
    """Embeddings under a bidirectional LSTM.

    Every input gets an end mark, so that an empty input is an input too. The two directions are separate LSTMs and
    the backward one reads each sequence reversed within its own length: padding comes last for both and changes
    nothing, without the cost of packing.

    Args:
        symbols: number of known input symbols; id ``symbols`` is the unknown one, whose embedding stays zero.
        embedding: size of an embedding.
        hidden: size of each direction's state.
        layers: number of bidirectional layers.
        dropout: rate of the masks on embeddings and on every layer's output.
    """

    def __init__(self, *, symbols: int, embedding: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.unknown, self.end, self.dropout = symbols, symbols + 1, dropout
        self.embedding = nn.Embedding(symbols + 2, embedding)
        nn.init.normal_(self.embedding.weight, std=embedding**-0.5)
        with torch.no_grad():
            self.embedding.weight[self.unknown] = 0.0
        sizes = [embedding] + [2 * hidden] * (layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)

    def forward(self, inputs: Sequences) -> Encoded:
        """Encode ``[batch, time]`` into time + 1 positions."""
        last = inputs.lengths.unsqueeze(1)
        symbols = functional.pad(inputs.labels, (0, 1)).scatter(1, last, self.end)
        time = torch.arange(symbols.shape[1], device=symbols.device)
        mask = time <= last
        mirror = torch.where(mask, last - time, time).unsqueeze(-1)  # each sequence reversed, padding left in place
        features = self.embedding(symbols)
        features = features * locked_dropout(self, features, self.dropout)
        summary = features[:, 0]
        for forward, backward in zip(self.forwards, self.backwards, strict=True):
            ahead = forward(features)[0]
            behind = backward(features.gather(1, mirror.expand_as(features)))[0]
            summary = torch.cat([_at(ahead, last), _at(behind, last)], -1)
            features = torch.cat([ahead, behind.gather(1, mirror.expand_as(behind))], -1)
            features = features * locked_dropout(self, features, self.dropout)
        return Encoded(features, mask, summary)


def _at(states: Float[Tensor, "batch time hidden"], position: Tensor) -> Float[Tensor, "batch hidden"]:
    index = position.unsqueeze(-1).expand(-1, 1, states.shape[-1])
    return states.gather(1, index).squeeze(1)
