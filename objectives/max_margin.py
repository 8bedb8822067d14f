"""The structured hinge."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from structpred.distributions.protocols import Argmax, Distribution, LossAugmented, Score
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.registry import objectives, rewards
from structpred.rewards import Hamming, Reward
from structpred.rewards.base import costs_of, scores_of
from structpred.sequences import Sequences
from structpred.values import Positive

INSTEAD = "CandidateHinge (which searches a candidate set for the worst output)"


@runtime_checkable
class Searched(Score, Argmax, Protocol):
    """A distribution with scores and the highest-scoring output."""


@runtime_checkable
class CostAugmented(Distribution, LossAugmented, Searched, Protocol):
    """A distribution with scores to which a cost can be added before the search."""


def margin(p: Score, output: Sequences, targets: Sequences) -> Float[Tensor, " batch"]:
    """score(y) − score(y*), in nats, with gradient φ(y) − φ(y*) to the features' weights; the normaliser cancels.

    Examples:
        >>> import torch
        >>> from structpred.distributions import Factorised
        >>> p = Factorised(torch.tensor([[[0.8, 0.2]]]).log(), torch.tensor([1]))
        >>> round(margin(p, Sequences.of([[1]]), Sequences.of([[0]])).item(), 4)  # ln 0.2 - ln 0.8
        -1.3863
    """
    return (p.score(output.candidates()) - p.score(targets.candidates())).squeeze(1)


def costs(reward: Reward, scale: float, targets: Sequences, num_labels: int) -> Float[Tensor, "batch time labels"]:
    """The cost of each label at each position, in nats: Δ(y, y*) = Σ_t cost_t(y_t), which is 0 for the reference.

    Examples:
        >>> costs(Hamming(), 2.0, Sequences.of([[0, 1]]), 2).tolist()
        [[[0.0, 2.0], [2.0, 0.0]]]
    """
    return costs_of(reward, targets, num_labels).double() * scale


def check_decomposes(reward: Reward, purpose: str) -> None:
    """Refuse a reward that is not a sum over positions: its cost cannot be added to the scores.

    Raises:
        ConfigError: the combination cannot work; the message names both sides and what would work.
    """
    if not reward.decomposes:
        able = [name for name in rewards if rewards[name].decomposes]  # type: ignore[attr-defined]
        raise ConfigError(
            f"{purpose} needs a reward that is a sum over positions, but {type(reward).__name__} is not; use such a "
            f"reward ({', '.join(able)}) or {INSTEAD}"
        )


@objectives.register("max-margin")
@dataclass(frozen=True, kw_only=True)
class MaxMargin(Objective):
    """max_y [score(y) + Δ(y, y*)] − score(y*): the margin-rescaled structured hinge, in nats.

    Taskar et al. 2003; Tsochantaridis et al. 2005. Δ(y, y*) = c·(r(y*, y*) − r(y, y*)) is the shortfall in reward. The
    maximum is found exactly, as the argmax of the loss-augmented p. So the loss is never negative, bounds the cost of
    the prediction from above, and is 0 exactly if every output scores at least Δ below the reference. Its subgradient
    is φ(ỹ) − φ(y*), with ỹ the maximiser.

    Attributes:
        reward: r, a sum over positions.
        scale: c, nats of score that one unit of reward is worth.
    """

    requires = (LossAugmented, Argmax, Score)
    instead = INSTEAD

    reward: Reward = Hamming()
    scale: Positive = 1.0

    def check(self) -> None:
        """Refuse a reward that is not a sum over positions."""
        check_decomposes(self.reward, "MaxMargin")

    def losses(self, p: CostAugmented, targets: Sequences, context: StepContext) -> Losses:
        """The hinge of each example; diagnostics: the shortfall of ỹ in reward, and 1 if the loss is positive."""
        del context
        augmented = p.loss_augmented(costs(self.reward, self.scale, targets, p.num_labels))
        worst = augmented.argmax()
        values = margin(augmented, worst, targets)
        perfect, reached = (scores_of(self.reward, each.candidates(), targets) for each in (targets, worst))
        violated = (values.detach() > 0).to(values.dtype)
        return Losses(values, {"cost": (perfect - reached).squeeze(1), "violated": violated})
