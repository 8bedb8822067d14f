"""REINFORCE: the gradient of the expected reward, estimated from the model's own outputs."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from structpred.distributions.protocols import Distribution, LogProb, Sample, TokenLogProbs
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, Requirement, StepContext
from structpred.objectives.baselines import (
    Baseline,
    Group,
    LeaveOneOut,
    Returns,
    diagnostics_of,
    loss_of,
    pad_or_trim,
    values_of,
)
from structpred.objectives.candidates import collapse_diagnostics
from structpred.objectives.expected_reward import ExpectedReward
from structpred.registry import objectives, rewards
from structpred.rewards import EditDistance, Reward
from structpred.rewards.base import Incremental, increments_of, scores_of
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Count, Interval


def surrogate(log_probs: Returns, advantages: Returns) -> Float[Tensor, " batch"]:
    """−(1/k) Σ_k Σ_t A_kt log p_kt, a surrogate: only its gradient is meaningful, in expectation that of −E[r].

    Args:
        log_probs: log p of the samples, with gradient; 0 at steps that a sample does not have.
        advantages: returns minus a baseline, without gradient.

    Examples:
        >>> surrogate(torch.tensor([[[-1.0], [-2.0]]]), torch.tensor([[[0.5], [-0.5]]])).tolist()
        [-0.25]
    """
    return -(advantages * log_probs).sum(-1).mean(1)


def still_to_come(increments: Float[Tensor, "batch candidates steps"]) -> Returns:
    """R_t = Σ_s≥t r_s, the reward to go: a symbol gets no credit for rewards before it.

    Examples:
        >>> still_to_come(torch.tensor([[[1.0, 0.0, 2.0]]])).tolist()
        [[[3.0, 2.0, 2.0]]]
    """
    return increments.flip(-1).cumsum(-1).flip(-1)


@objectives.register("reinforce")
@dataclass(frozen=True, kw_only=True)
class REINFORCE(Objective):
    """−E_p[r(y, y*)] − β H(p) − w log p(y*|x), with the gradient of the first two estimated from k samples.

    Williams 1992: ∇E_p[r] = E_p[(r − b) ∇log p(y)] for any b that does not depend on y. Samples are drawn without
    gradient and then scored once with gradient, by the same p and so under the same dropout mask, without tempering,
    and up to their end. −log p(y) is added to the reward with weight β, which gives an unbiased β∇H(p), so this
    estimates L_RL(β) of `ExpectedReward`. The value of the loss is the plain −(1/k) Σ (r − β log p) − w log p(y*|x). It
    has either sign, as rewards do, and its gradient is not the derivative of this value.

    Attributes:
        reward: r, in its own unit.
        samples: k, samples of p per example.
        baseline: b.
        credit: ``"sequence"`` credits every symbol with the whole return; ``"token"`` only with the reward from that
            symbol on, which has less variance and needs a reward that defines credit per symbol.
        entropy: β, in units of reward per nat.
        ml_weight: w, the weight of maximum likelihood.
    """

    requires = (Sample, LogProb)
    draws_in_step = True
    exact: ClassVar[bool] = False  # outputs are sampled

    reward: Reward = EditDistance()
    samples: Count = 4
    baseline: Baseline = LeaveOneOut()
    credit: Literal["sequence", "token"] = "sequence"
    entropy: Annotated[float, Interval(least=0)] = 0.0
    ml_weight: Annotated[float, Interval(least=0)] = 0.0

    @classmethod
    def examples(cls) -> tuple[Objective, ...]:
        """Both kinds of credit."""
        return cls(), replace(cls(), credit="token")

    def check(self) -> None:
        """Refuse a baseline that needs more samples, and token credit if the reward defines none."""
        if self.samples < self.baseline.least_samples:
            raise ConfigError(
                f"REINFORCE with baseline={type(self.baseline).__name__}() compares a sample with the others, so it "
                f"needs at least {self.baseline.least_samples} samples, but got samples={self.samples}; use more, or "
                "baseline=RunningMean() or Greedy()"
            )
        if self.credit == "token" and not isinstance(self.reward, Incremental):
            able = [name for name in rewards if issubclass(rewards[name], Incremental)]
            raise ConfigError(
                f"REINFORCE(credit='token') needs a reward that says what each symbol adds, but "
                f"{type(self.reward).__name__} does not; use such a reward ({', '.join(able)}) or credit='sequence'"
            )

    def requirements(self) -> tuple[Requirement, ...]:
        """Also ``token_log_probs`` if credit goes to tokens."""
        tokens = (Requirement(TokenLogProbs, "REINFORCE with credit='token'", "credit='sequence'"),)
        return (*super().requirements(), *(tokens if self.credit == "token" else ()))

    def state(self, sizes: Sizes) -> nn.Module | None:
        """The state of the baseline."""
        return self.baseline.state(sizes)

    def in_expectation(self) -> ExpectedReward | None:
        """L_RL(β), where the reward is a sum over positions and nothing is added to it."""
        if not self.reward.decomposes or self.ml_weight:
            return None
        return ExpectedReward(reward=self.reward, temperature=self.entropy)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The loss of each example, with `collapse_diagnostics` among its diagnostics."""
        samples: Sequences = p.sample(self.samples, context.generator)
        log_probs = self._log_probs(p, samples)
        group = self._group(p, samples, log_probs.detach(), targets)
        values = values_of(self.baseline, group, context.state)
        baseline = values.detach()
        loss = surrogate(log_probs, group.returns - baseline)
        regression = loss_of(self.baseline, group, values, context.state)
        loss = loss if regression is None else loss + regression
        loss = loss - loss.detach() - group.returns[..., 0].mean(1)
        self.baseline.learn(group, context.state)
        if self.ml_weight:
            loss = loss - self.ml_weight * p.log_prob(targets.candidates()).squeeze(1)
        found = collapse_diagnostics(samples, group.rewards, targets) | {"entropy": -log_probs.detach().sum(-1).mean(1)}
        return Losses(loss, found | diagnostics_of(self.baseline, group, baseline))

    def _log_probs(self, p: Any, outputs: Sequences) -> Returns:
        """log p of each symbol, or of the whole output as a single step; at least one step."""
        scored: Tensor = p.token_log_probs(outputs) if self.credit == "token" else p.log_prob(outputs).unsqueeze(-1)
        return pad_or_trim(scored, max(1, scored.shape[-1]))

    @torch.no_grad()
    def _group(self, p: Distribution, samples: Sequences, log_probs: Returns, targets: Sequences) -> Group:
        earned = self._returns(samples, targets).to(log_probs.dtype)
        steps = log_probs.shape[-1]
        mask = torch.ones_like(log_probs, dtype=torch.bool)
        return Group(
            p=p,
            targets=targets,
            outputs=samples,
            rewards=earned[..., 0],
            returns=pad_or_trim(earned, steps) - self.entropy * still_to_come(log_probs),
            mask=steps_of(samples, p.fixed_length, steps) if self.credit == "token" else mask,
            returns_of=partial(self._returns, targets=targets),
        )

    def _returns(self, outputs: Sequences, targets: Sequences) -> Float[Tensor, "batch others given"]:
        """The return of each symbol if the reward tells it symbol by symbol and is credited so, else of the output."""
        if self.credit == "token" and isinstance(self.reward, Incremental):
            return still_to_come(increments_of(self.reward, outputs, targets))
        return scores_of(self.reward, outputs, targets).unsqueeze(-1)


def steps_of(outputs: Sequences, fixed_length: bool, steps: int) -> Bool[Tensor, "batch candidates steps"]:
    """True at the steps that sample a label, or an end that was not cut off."""
    ended = torch.ones_like(outputs.lengths) if outputs.ended is None else outputs.ended.long()
    counted = outputs.lengths + (0 if fixed_length else ended)
    return torch.arange(steps, device=outputs.device) < counted.unsqueeze(-1)
