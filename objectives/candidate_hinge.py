"""Margins over a candidate set."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.distributions.protocols import LogProb
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.candidates import CandidateSet, NBest, refuse_one_alone
from structpred.registry import objectives
from structpred.rewards import EditDistance, Reward
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.values import Interval, Positive

Violations = Literal["worst", "sum", "softmax"]


def margins(
    scores: Float[Tensor, "batch candidates"], rewards: Float[Tensor, "batch candidates"], gold: Int[Tensor, " batch"]
) -> Float[Tensor, "batch candidates"]:
    """s(u) − s(ŷ) + r(ŷ) − r(u): how much each candidate violates its margin to the gold one, which itself gets 0.

    Args:
        scores: s, in nats.
        rewards: r, in nats.
        gold: the index of ŷ among the candidates.

    Examples:
        >>> margins(torch.tensor([[-1.0, -2.0, -0.5]]), torch.tensor([[0.0, -1.0, -3.0]]), torch.tensor([0])).tolist()
        [[0.0, 0.0, 3.5]]
    """
    augmented = scores - rewards
    return augmented - augmented.gather(1, gold.unsqueeze(1))


def violation(
    margins: Float[Tensor, "batch candidates"], mask: Bool[Tensor, "batch candidates"], violations: Violations
) -> Float[Tensor, " batch"]:
    """The largest margin, the sum of the positive ones, or ln Σ exp; never negative if ŷ itself is in the mask.

    Args:
        margins: the result of `margins`.
        mask: True at candidates that belong to the set.
        violations: which of the three to compute.

    Examples:
        >>> apart = torch.tensor([[0.0, -2.0, 3.5]])
        >>> [violation(apart, apart == apart, each).item() for each in ("worst", "sum")]
        [3.5, 3.5]
    """
    inside = margins.masked_fill(~mask, -torch.inf)
    if violations == "worst":
        return inside.max(1).values
    return inside.clamp(min=0).sum(1) if violations == "sum" else inside.logsumexp(1)


@objectives.register("candidate-hinge")
@dataclass(frozen=True, kw_only=True)
class CandidateHinge(Objective):
    """max_{u ∈ U} [s(u) + Δ(u, ŷ)] − s(ŷ), in nats: the structured hinge over a candidate set.

    Edunov et al. 2018, arXiv 1711.04956. U is a set of candidates, Δ(u, ŷ) = c·(r(ŷ, y*) − r(u, y*)) the shortfall in
    reward, and s(u) = log p(u|x) / (length + 1)^penalty. U is chosen without regard to costs, so this is at most the
    hinge of `MaxMargin`, and equal to it if U contains every output, the penalty is 0 and ŷ is the reference.
    Departures: the paper scores with unnormalised logits, we use log-probabilities; nothing is halved or divided by the
    number of candidates.

    Attributes:
        reward: r; it need not be a sum over positions.
        candidates: U.
        against: ŷ: the ``"reference"``, or the candidate with the ``"best"`` reward, the paper's pseudo-reference.
        violations: ``"worst"`` takes the maximum over U (the paper's MaxMargin), ``"sum"`` adds max(0, ·) of each
            candidate (MultiMargin), ``"softmax"`` takes ln Σ_u exp instead (SoftmaxMargin).
        length_penalty: 0 uses plain log-probabilities; 1 averages them over an output's symbols, as in the paper.
        scale: c, nats that one unit of reward is worth.
    """

    requires = (LogProb,)
    draws_in_step = True
    exact: ClassVar[bool] = False  # the search does not see every output

    reward: Reward = EditDistance()
    candidates: CandidateSet = NBest()
    against: Literal["reference", "best"] = "reference"
    violations: Violations = "worst"
    length_penalty: Annotated[float, Interval(least=0)] = 0.0
    scale: Positive = 1.0

    def check(self) -> None:
        """Refuse margins against a reference that is not in the set, and a set of one candidate."""
        if self.against == "reference" and self.candidates.reference == "left out":
            chosen = type(self.candidates).__name__
            raise ConfigError(
                "CandidateHinge(against='reference') needs the reference among the candidates, but "
                f"{chosen}(reference='left out') does not add it; use reference='added' or against='best'"
            )
        refuse_one_alone("CandidateHinge", self.candidates)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The violation of each example; the diagnostic is the fraction of candidates that violate their margin."""
        found = self.candidates.draw(p, targets, context.generator)
        scores = p.log_prob(found.outputs) / (found.outputs.lengths + 1.0) ** self.length_penalty
        rewards = self.scale * scores_of(self.reward, found.outputs, targets).to(scores.dtype)
        gold = torch.zeros_like(targets.lengths)  # the reference comes first
        if self.against == "best":
            gold = rewards.masked_fill(~found.mask, -torch.inf).argmax(1)
        apart = margins(scores, rewards, gold)
        violated = ((apart.detach() > 0) & found.mask).sum(1) / found.mask.sum(1)
        return Losses(violation(apart, found.mask, self.violations), {"violated": violated})
