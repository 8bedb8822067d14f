"""GRPO: advantages normalised within the group of an example's samples."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.distributions.protocols import LogProb, Sample, TokenLogProbs
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, Requirement, StepContext
from structpred.objectives.baselines import Returns, pad_or_trim
from structpred.objectives.candidates import collapse_diagnostics
from structpred.objectives.reinforce import steps_of
from structpred.registry import objectives
from structpred.rewards import EditDistance, Reward
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.values import Count, Positive

LEAST_DEVIATION = 1e-4
"""Added to the deviation of rewards, as public trainers do."""


def relative(
    rewards: Float[Tensor, "batch candidates"], scale: Literal["deviation", "none"]
) -> Float[Tensor, "batch candidates"]:
    """r_i − r̄, over the group's standard deviation or not; exactly 0 where all rewards tie.

    Examples:
        >>> import torch
        >>> [round(each, 3) for each in relative(torch.tensor([[1.0, 3.0]]), "deviation")[0].tolist()]
        [-0.707, 0.707]
    """
    apart = rewards - rewards[:, :1]  # from the first, so that rounding cannot break a tie
    centred = apart - apart.mean(1, keepdim=True)
    return centred if scale == "none" else centred / (apart.std(1, keepdim=True) + LEAST_DEVIATION)


def clipped(
    log_ratios: Returns, advantages: Float[Tensor, "batch candidates"], clip: float
) -> tuple[Returns, Bool[Tensor, "batch candidates steps"]]:
    """min(ρ A, min(max(ρ, 1 − ε), 1 + ε) A) for ρ = exp(log ratio), and where that is less than ρ A.

    Schulman et al. 2017, arXiv 1707.06347, equation 7. There the value is constant: what is already more probable by
    the factor 1 + ε, and good, gets no further push, nor does what is bad and less probable by 1 − ε. A ratio too large
    for floating point is clipped without being computed.

    Args:
        log_ratios: log p − log p_old, with gradient.
        advantages: A.
        clip: ε.

    Examples:
        >>> import torch
        >>> value, flat = clipped(torch.tensor([[[1.5, 0.9]]]).log(), torch.tensor([[2.0]]), 0.2)
        >>> [round(each, 3) for each in value[0, 0].tolist()], flat[0, 0].tolist()
        ([2.4, 1.8], [True, False])
    """
    lowest, given = 1 - clip if clip < 1 else 0.0, advantages.unsqueeze(-1)
    above = (given >= 0) & (log_ratios > math.log1p(clip))
    below = (given < 0) & (log_ratios < (math.log(lowest) if lowest else -math.inf))
    flat, bound = above | below, torch.full_like(log_ratios, lowest).masked_fill(above, 1 + clip)
    return torch.where(flat, bound, torch.where(flat, 0.0, log_ratios).exp()) * given, flat & (given != 0)


@objectives.register("grpo")
@dataclass(frozen=True, kw_only=True)
class GRPO(Objective):
    """−(1/k) Σ_i A_i log p(y_i) / |y_i| with A_i = (r_i − r̄) / (s + 10⁻⁴), over k samples: one step of GRPO.

    Shao et al. 2024, arXiv 2402.03300, equation 3, without its KL, which is `KLToRun`. r̄ and s are the mean and
    standard deviation of the k rewards, and |y| the symbols drawn, an end included where it is drawn. With one update
    on each batch of samples, the default, the ratio of new to old probabilities is 1 and its gradient is that of log p,
    so clipping it would do nothing.

    With more ``updates`` the samples, their rewards and their probabilities p_old at the first update serve all of
    them, and the loss is −(1/k) Σ_i (1/|y_i|) Σ_t min(ρ_it A_i, clip(ρ_it, 1 − ε, 1 + ε) A_i) with
    ρ_it = p(y_it | y_i,<t) / p_old(y_it | y_i,<t). Sampling and rewards are then paid for once, and scoring once an
    update. With ``ratio="sequence"`` there is one ratio for each sample, (p(y) / p_old(y))^(1/|y|): GSPO (Zheng et al.
    2025, arXiv 2507.18071, equations 5 and 7). At the first update all of these have the gradient of the first line.

    What it estimates is not the gradient of an expected reward. The mean contains the own sample, which multiplies that
    gradient by (k − 1)/k; s weighs every example by how little its rewards vary; and |y| makes a symbol of a long
    output count less. With ``scale="none"`` and ``length="kept"`` only the factor is left: that is Dr. GRPO (Liu et al.
    2025, arXiv 2503.20783), which equals `REINFORCE` with the baseline `LeaveOneOut` times (k − 1)/k. In later updates
    that holds only with ``ratio="sequence"``, where p / p_old corrects for the samples being old, and as far as nothing
    is clipped. The value of the loss is minus the mean reward; its gradient is not the derivative of this value.

    Attributes:
        reward: r, in its own unit.
        samples: k, at least 2.
        scale: ``"deviation"`` divides by s, ``"none"`` does not.
        length: ``"mean"`` divides by |y|, and takes the root of order |y| of a sequence's ratio; ``"kept"`` does not.
        updates: of the weights on each batch of samples.
        clip: ε; for more than one update.
        ratio: of each symbol (``"token"``) or of whole outputs (``"sequence"``); for more than one update.
    """

    requires = (Sample, LogProb)
    draws_in_step = True
    exact: ClassVar[bool] = False  # outputs are sampled
    identity_optional: ClassVar[tuple[str, ...]] = ("updates", "clip", "ratio")

    reward: Reward = EditDistance()
    samples: Count = 4
    scale: Literal["deviation", "none"] = "deviation"
    length: Literal["mean", "kept"] = "mean"
    updates: Count = 1
    clip: Positive = 0.2
    ratio: Literal["token", "sequence"] = "token"

    def check(self) -> None:
        """Refuse a single sample, and settings of later updates where there are none."""
        if self.samples < 2:
            raise ConfigError(
                "GRPO compares a sample with the others, so it needs at least 2 samples, but got "
                f"samples={self.samples}; use more, or REINFORCE with baseline=RunningMean() or Greedy()"
            )
        if self.updates == 1 and (self.clip, self.ratio) != (GRPO.clip, GRPO.ratio):
            raise ConfigError(
                "GRPO.clip and GRPO.ratio matter only from the second update on each batch, but got updates=1; raise "
                "updates, or leave them out"
            )

    def requirements(self) -> tuple[Requirement, ...]:
        """Also ``token_log_probs`` where each symbol has a ratio."""
        tokens = (Requirement(TokenLogProbs, "GRPO with updates > 1", "ratio='sequence'"),)
        return (*super().requirements(), *(tokens if self._by_token else ()))

    @property
    def _by_token(self) -> bool:
        return self.updates > 1 and self.ratio == "token"

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The loss of each example, with `collapse_diagnostics` and ``deviation``, s; later ``clipped``, a share."""
        if context.kept is not None:
            return self._later(p, targets, context.kept)
        outputs: Sequences = p.sample(self.samples, context.generator)
        log_probs = self._log_probs(p, outputs)
        rewards = scores_of(self.reward, outputs, targets).to(log_probs.dtype)
        weights = relative(rewards, self.scale) / self._divisor(p, outputs)
        loss = -(weights.unsqueeze(-1) * log_probs).sum(-1).mean(1)
        shown = collapse_diagnostics(outputs, rewards, targets) | {"deviation": rewards.std(1)}
        kept = {} if self.updates == 1 else _taken_apart(outputs, rewards, log_probs.detach())
        return Losses(loss - loss.detach() - rewards.mean(1), shown, kept)

    def _later(self, p: Any, targets: Sequences, kept: dict[str, Tensor]) -> Losses:
        """The loss of an update after the first on the same samples."""
        outputs = _put_together(kept, targets.labels.shape[1] if p.fixed_length else None)
        log_probs, divisor = self._log_probs(p, outputs), self._divisor(p, outputs)
        ratios = log_probs - pad_or_trim(kept["log_probs"], log_probs.shape[-1])
        advantages = relative(kept["rewards"], self.scale)
        if self.ratio == "sequence":
            values, flat = clipped(ratios / divisor.unsqueeze(-1), advantages, self.clip)
            gain, share = values.squeeze(-1), flat.squeeze(-1).to(values.dtype)
        else:
            values, flat = clipped(ratios, advantages, self.clip)
            gain, share = values.sum(-1) / divisor, flat.sum(-1) / self._symbols(p, outputs)
        loss = -gain.mean(1)
        return Losses(loss - loss.detach() - kept["rewards"].mean(1), {"clipped": share.mean(1).detach()})

    def _log_probs(self, p: Any, outputs: Sequences) -> Returns:
        """log p of each symbol where each has a ratio, else of the whole output as a single step."""
        scored: Tensor = p.token_log_probs(outputs) if self._by_token else p.log_prob(outputs).unsqueeze(-1)
        return scored

    def _divisor(self, p: Any, outputs: Sequences) -> Int[Tensor, "batch candidates"]:
        """|y|, or 1."""
        return self._symbols(p, outputs) if self.length == "mean" else torch.ones_like(outputs.lengths)

    @staticmethod
    def _symbols(p: Any, outputs: Sequences) -> Int[Tensor, "batch candidates"]:
        """|y|, at least 1."""
        return steps_of(outputs, p.fixed_length, outputs.labels.shape[-1] + 1).sum(-1).clamp(min=1)


def _taken_apart(
    outputs: Sequences, rewards: Float[Tensor, "batch candidates"], log_probs: Returns
) -> dict[str, Tensor]:
    """What later updates need."""
    ended = {} if outputs.ended is None else {"ended": outputs.ended}
    own = {"labels": outputs.labels, "lengths": outputs.lengths, "rewards": rewards, "log_probs": log_probs}
    return own | ended


def _put_together(kept: dict[str, Tensor], time: int | None) -> Sequences:
    """The samples. Where all outputs are as long as their inputs, they lose what pieces of the batch padded them by."""
    return Sequences(kept["labels"][..., :time], kept["lengths"], kept.get("ended"))
