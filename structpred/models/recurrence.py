"""An LSTM over sequences of different lengths, with little of the padding computed; and one step of it at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

WORTH = 128
"""Cells of padding that one more call must save: it reads all weights again, and adds up their gradients again."""


def unrolled(
    lstm: nn.LSTM,
    inputs: Float[Tensor, "rows steps size"],
    state: tuple[Tensor, ...],
    lengths: Int[Tensor, " rows"],
) -> Float[Tensor, "rows steps hidden"]:
    """The output at every step; what stands beyond a row's length means nothing.

    All rows go together up to some step, and those that are longer go on alone. Packed sequences compute no padding
    at all, but were measured slower on a processor than all of it: they are not one fused call. On a device, which
    would have to be waited for, all steps are one call.

    Args:
        lstm: batch first.
        inputs: padded rows.
        state: before the first step, ``[layers, rows, hidden]`` twice.
        lengths: steps that count in each row.
    """
    split = _split(lengths, inputs.shape[1]) if inputs.device.type == "cpu" else 0
    if not split:
        return lstm(inputs, state)[0]  # type: ignore[no-any-return]  # modules return Any
    early, late = inputs.split_with_sizes([split, inputs.shape[1] - split], 1)
    going = (lengths > split).nonzero().squeeze(1)
    head, last = lstm(early, state)
    onward = tuple(part.index_select(1, going) for part in last)
    tail = unrolled(lstm, late.index_select(0, going), onward, lengths[going] - split)
    rest = tail.new_zeros(len(inputs), *tail.shape[1:]).index_copy(0, going, tail)
    return torch.cat([head, rest], 1)


def _split(lengths: Int[Tensor, " rows"], steps: int) -> int:
    """The step at which leaving ended rows behind saves most cells; 0 where that is not worth a call."""
    time = torch.arange(steps, device=lengths.device)
    ended = (lengths <= time.unsqueeze(1)).sum(1)
    saved, split = (ended * (steps - time)).max(0)
    return int(split) if saved > WORTH else 0


@dataclass(frozen=True)
class Alike:
    """Which of some rows are the same, so that what is computed from one need not be from the others.

    Attributes:
        first: a row of each kind.
        kinds: the kind of every row.
    """

    first: Int[Tensor, " kinds"]
    kinds: Int[Tensor, " rows"]

    @classmethod
    def of(cls, keys: Int[Tensor, " rows"]) -> "Alike":
        """Rows of the same key are the same."""
        distinct, kinds = torch.unique(keys, return_inverse=True)
        rows = torch.arange(len(kinds), device=keys.device)
        return cls(torch.empty_like(distinct).scatter_(0, kinds, rows), kinds)

    def linear(
        self, rows: Float[Tensor, "rows size"], weight: Float[Tensor, "features size"], bias: Float[Tensor, " features"]
    ) -> Float[Tensor, "rows features"]:
        """``rows @ weight.T + bias``."""
        return functional.linear(rows.index_select(0, self.first), weight, bias).index_select(0, self.kinds)


def stepped(
    lstm: nn.LSTM,
    inputs: Float[Tensor, "rows size"],
    hidden: Float[Tensor, "rows layers hidden"],
    cells: Float[Tensor, "rows layers hidden"],
    symbols: Alike,
    parents: Alike,
) -> tuple[Float[Tensor, "rows layers hidden"], Float[Tensor, "rows layers hidden"]]:
    """The state one step on, where many rows have an input or a state in common, as the prefixes of a beam do.

    Of 1,280 prefixes of 256 captions 65 % had parents, and 18 % last words, of their own.

    Args:
        lstm: one direction, without dropout between layers.
        inputs: what each row reads.
        hidden: what every layer shows before the step.
        cells: what it remembers.
        symbols: which inputs are the same.
        parents: which states are the same.
    """
    after = []
    for layer, (of_input, of_state, input_bias, state_bias) in enumerate(lstm.all_weights):
        read = (functional if layer else symbols).linear(inputs, of_input, input_bias)
        gates = read + parents.linear(hidden[:, layer], of_state, state_bias)
        take, keep, new, show = gates.chunk(4, -1)  # i, f, g, o
        kept = keep.sigmoid() * cells[:, layer] + take.sigmoid() * new.tanh()
        inputs = show.sigmoid() * kept.tanh()
        after.append((inputs, kept))
    hidden, cells = (torch.stack(part, 1) for part in zip(*after, strict=True))
    return hidden, cells
