"""A reward that says nothing, as a control."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.registry import rewards
from structpred.rewards.base import Reward
from structpred.sequences import Sequences


@rewards.register("constant")
@dataclass(frozen=True, kw_only=True)
class ConstantReward(Reward):
    """r(y, y*) = c for every output: an arm that learns from it learns from drawing alone.

    Choshen et al. 2020, arXiv 1907.01752, report gains of policy gradients under it that are as large as those under
    BLEU. Its expected gradient is 0 under every baseline, and with `LeaveOneOut` or `Greedy` so is that of every batch.

    Attributes:
        value: c.
    """

    value: float = 1.0

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """c."""
        del references
        return torch.full(outputs.lengths.shape, self.value, dtype=torch.float64, device=outputs.device)
