"""An LSTM over sequences of different lengths, with little of the padding computed."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

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
