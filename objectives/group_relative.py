"""GRPO: advantages normalised within the group of an example's samples."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from structpred.config import Count
from structpred.distributions.protocols import LogProb, Sample
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.candidates import collapse_diagnostics
from structpred.objectives.reinforce import steps_of
from structpred.registry import objectives
from structpred.rewards import EditDistance, Reward
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences

LEAST_DEVIATION = 1e-4
"""Added to the deviation of rewards, as public trainers do."""


def relative(
    rewards: Float[Tensor, "batch candidates"], scale: Literal["deviation", "none"]
) -> Float[Tensor, "batch candidates"]:
    """r_i − r̄, over the group's standard deviation or not; exactly 0 where all rewards tie.

    >>> import torch
    >>> [round(each, 3) for each in relative(torch.tensor([[1.0, 3.0]]), "deviation")[0].tolist()]
    [-0.707, 0.707]
    """
    apart = rewards - rewards[:, :1]  # from the first, so that rounding cannot break a tie
    centred = apart - apart.mean(1, keepdim=True)
    return centred if scale == "none" else centred / (apart.std(1, keepdim=True) + LEAST_DEVIATION)


@objectives.register("grpo")
@dataclass(frozen=True, kw_only=True)
class GRPO(Objective):
    """−(1/k) Σ_i A_i log p(y_i) / |y_i| with A_i = (r_i − r̄) / (s + 10⁻⁴), over k samples: one step of GRPO.

    Shao et al. 2024, arXiv 2402.03300, equation 3, without its KL, which is `KLToRun`. Our training takes one step on
    each batch of samples. There the ratio of new to old probabilities is 1 and its gradient is that of log p, so that
    clipping it does nothing; it is left out. r̄ and s are the mean and standard deviation of the k rewards, and |y| the
    symbols drawn, an end included where it is drawn.

    What it estimates is not the gradient of an expected reward. The mean contains the own sample, which multiplies that
    gradient by (k − 1)/k; s weighs every example by how little its rewards vary; and |y| makes a symbol of a long
    output count less. With ``scale="none"`` and ``length="kept"`` only the factor is left: that is Dr. GRPO (Liu et al.
    2025, arXiv 2503.20783), which equals `REINFORCE` with the baseline `LeaveOneOut` times (k − 1)/k. The value of the
    loss is minus the mean reward; its gradient is not the derivative of this value.

    Attributes:
        reward: r, in its own unit.
        samples: k, at least 2.
        scale: ``"deviation"`` divides by s, ``"none"`` does not.
        length: ``"mean"`` divides by |y|, ``"kept"`` does not.
    """

    requires = (Sample, LogProb)
    draws_in_step = True
    exact: ClassVar[bool] = False  # outputs are sampled

    reward: Reward = EditDistance()
    samples: Count = 4
    scale: Literal["deviation", "none"] = "deviation"
    length: Literal["mean", "kept"] = "mean"

    def check(self) -> None:
        """Refuse a single sample."""
        if self.samples < 2:
            raise ConfigError(
                "GRPO compares a sample with the others, so it needs at least 2 samples, but got "
                f"samples={self.samples}; use more, or REINFORCE with baseline=RunningMean() or Greedy()"
            )

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The loss of each example, with `collapse_diagnostics`, and ``deviation``, s."""
        outputs: Sequences = p.sample(self.samples, context.generator)
        log_probs: Tensor = p.log_prob(outputs)
        rewards = scores_of(self.reward, outputs, targets).to(log_probs.dtype)
        weights = relative(rewards, self.scale)
        if self.length == "mean":
            longest = outputs.labels.shape[-1] + 1
            weights = weights / steps_of(outputs, p.fixed_length, longest).sum(-1).clamp(min=1)
        loss = -(weights * log_probs).mean(1)
        shown = collapse_diagnostics(outputs, rewards, targets) | {"deviation": rewards.std(1)}
        return Losses(loss - loss.detach() - rewards.mean(1), shown)
