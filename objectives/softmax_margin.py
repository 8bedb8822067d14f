"""Softmax-margin."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from structpred.distributions.protocols import Distribution, LogProb, LossAugmented
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.max_margin import check_decomposes, costs
from structpred.registry import objectives
from structpred.rewards import Hamming, Reward
from structpred.sequences import Sequences
from structpred.values import Positive


@runtime_checkable
class CostAugmented(Distribution, LossAugmented, LogProb, Protocol):
    """A distribution to whose scores a cost can be added."""


@objectives.register("softmax-margin")
@dataclass(frozen=True, kw_only=True)
class SoftmaxMargin(Objective):
    """log Σ_y exp(score(y) + Δ(y, y*)) − score(y*), in nats (Gimpel and Smith 2010).

    Δ is the cost of `MaxMargin`. The reference costs nothing, so this is −log p̃(y*), with p̃ the loss-augmented
    distribution: maximum likelihood against outputs that are favoured in proportion to their cost. It lies between the
    hinge and the hinge + m ln V, and is never below −log p(y*), which it equals if all costs are 0. Its gradient is the
    marginals of p̃ minus the reference.

    Attributes:
        reward: r, a sum over positions.
        scale: c, nats of score that one unit of reward is worth.
    """

    requires = (LossAugmented, LogProb)
    instead = 'CandidateHinge(violations="softmax") (the same over a candidate set)'

    reward: Reward = Hamming()
    scale: Positive = 1.0

    def check(self) -> None:
        """Refuse a reward that is not a sum over positions."""
        check_decomposes(self.reward, "SoftmaxMargin")

    def losses(self, p: CostAugmented, targets: Sequences, context: StepContext) -> Losses:
        """−log p̃(y*) of each example."""
        del context
        augmented = p.loss_augmented(costs(self.reward, self.scale, targets, p.num_labels))
        return Losses(-augmented.log_prob(targets.candidates()).squeeze(1))
