"""From what a prefix is worth to what each symbol of an output adds."""

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.sequences import Sequences


def added_by_each(
    potentials: Float[Tensor, "batch candidates prefixes"],
    scores: Float[Tensor, "batch candidates"],
    outputs: Sequences,
) -> Float[Tensor, "batch candidates prefixes"]:
    """Φ_t − Φ_t−1 for each label, then score − Φ_length for the end, then 0; they sum to score − Φ_0.

    Args:
        potentials: Φ_t of the prefix y_1..t, for t = 0..time; beyond an output's length they mean nothing.
        scores: the reward of the whole output.
        outputs: ``[batch, candidates, time]``.
    """
    time = torch.arange(potentials.shape[-1], device=outputs.device)
    known = torch.where(time <= outputs.lengths.unsqueeze(-1), potentials, scores.unsqueeze(-1))
    return torch.cat([known, scores.unsqueeze(-1)], -1).diff(dim=-1)
