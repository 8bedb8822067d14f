"""Minimum risk over a candidate set."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from structpred.distributions.protocols import LogProb
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.candidates import CandidateSet, Samples, collapse_diagnostics, refuse_one_alone
from structpred.registry import objectives
from structpred.rewards import EditDistance, Reward
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.values import Positive


def renormalised(
    log_probs: Float[Tensor, "batch candidates"], mask: Bool[Tensor, "batch candidates"], sharpness: float
) -> Float[Tensor, "batch candidates"]:
    """Q_i ∝ p_i^α over the set: a softmax of α log p, computed in log space; 0 outside the mask.

    Examples:
        >>> kept = torch.tensor([[True, True, False]])
        >>> [round(share, 4) for share in renormalised(torch.tensor([[0.2, 0.6, 0.2]]).log(), kept, 1.0)[0].tolist()]
        [0.25, 0.75, 0.0]
    """
    return torch.where(mask, sharpness * log_probs, -torch.inf).softmax(-1)


@objectives.register("minimum-risk")
@dataclass(frozen=True, kw_only=True)
class MinimumRisk(Objective):
    """−Σ_i Q(y_i) r(y_i, y*) with Q ∝ p^α over a candidate set, in units of reward.

    Shen et al. 2016, arXiv 1512.02433, who write a cost for −r. The gradient in log p_i is −α Q_i (r_i − E_Q[r]), so a
    constant added to r changes nothing, and a set whose rewards all tie gives no gradient. The set is chosen without
    gradient. Over all outputs and with α = 1 this is the exact expected reward; over a subset it is biased towards that
    subset. With ``reference="added"``, as in that paper, the value may rise as the model improves, because better
    samples leave the reference less weight; watch ``reward`` then, not the loss. By default it is left out, as Edunov
    et al. 2018, arXiv 1711.04956, do when candidates are generated online.

    Attributes:
        reward: r, in its own unit; it is not rescaled.
        candidates: the set; samples without the reference by default.
        sharpness: α. At 1, the default, Q is p conditioned on the set. The paper uses 0.005 with 100 samples of long
            sentences, which makes Q nearly flat; the gradient shrinks with α too.
    """

    requires = (LogProb,)
    draws_in_step = True
    exact: ClassVar[bool] = False  # the set does not contain every output

    reward: Reward = EditDistance()
    candidates: CandidateSet = Samples(reference="left out")
    sharpness: Positive = 1.0

    def check(self) -> None:
        """Refuse a set of one candidate."""
        refuse_one_alone("MinimumRisk", self.candidates)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The risk of each example, with `collapse_diagnostics` and the reward under Q, ``expected``."""
        found = self.candidates.draw(p, targets, context.generator)
        q = renormalised(p.log_prob(found.outputs), found.mask, self.sharpness)
        rewards = scores_of(self.reward, found.outputs, targets).to(q.dtype)
        expected = (q * rewards).sum(1)
        shown = collapse_diagnostics(found.outputs, rewards, targets, found.mask) | {"expected": expected.detach()}
        return Losses(-expected, shown)
