"""Diagnostics for learning from a model's own outputs, where training can collapse."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from structpred.objectives.candidates import repeated
from structpred.sequences import Sequences


@torch.no_grad()
def collapse_diagnostics(
    outputs: Sequences,
    rewards: Float[Tensor, "batch candidates"],
    targets: Sequences,
    mask: Bool[Tensor, "batch candidates"] | None = None,
) -> dict[str, Float[Tensor, " batch"]]:
    """Means over the outputs of each example.

    ``reward``; ``length_ratio``, the length of outputs relative to their reference, with ends counted so that it is
    always defined. With several outputs also ``distinct``, the fraction of outputs that repeat no other, and
    ``zero_variance``, 1 if all rewards tie, so that comparing them teaches nothing.

    Args:
        outputs: ``[batch, candidates, time]``.
        rewards: the reward of each output.
        targets: ``[batch, time]``.
        mask: True at outputs that count; all by default.
    """
    kept = torch.ones_like(outputs.lengths, dtype=torch.bool) if mask is None else mask
    ratios = (outputs.lengths + 1) / (targets.lengths + 1).unsqueeze(1)
    found = {"reward": _mean(rewards, kept), "length_ratio": _mean(ratios, kept)}
    if outputs.lengths.shape[1] == 1:
        return found
    distinct = (kept & ~repeated(outputs, kept)).float().mean(1)
    lowest = rewards.masked_fill(~kept, torch.inf).amin(1)
    ties = lowest == rewards.masked_fill(~kept, -torch.inf).amax(1)
    return found | {"distinct": distinct, "zero_variance": ties.float()}


def _mean(values: Float[Tensor, "batch candidates"], kept: Bool[Tensor, "batch candidates"]) -> Float[Tensor, " batch"]:
    return torch.where(kept, values, 0).sum(1) / kept.sum(1)
