"""The dial between reward-augmented maximum likelihood and the regularised expected reward."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.config import Config
from structpred.distributions.protocols import (
    CrossEntropy,
    Entropy,
    ExpectedScore,
    LocalLogProb,
    LogProb,
    Overlap,
    Sample,
    Score,
)
from structpred.errors import ConfigError
from structpred.models import Model
from structpred.objective import Losses, Objective, Requirement, StepContext, check_reward, losses_of
from structpred.objectives.estimators import Estimator, Exact, Sampled, distinct, worth_merging
from structpred.objectives.expected_reward import ExpectedReward
from structpred.objectives.reinforce import REINFORCE
from structpred.objectives.reward_augmented import RML, check_lengths, q_for
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Payoff, Temperature
from structpred.payoffs.base import distribution_of
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Interval

SAMPLED = "estimator=Sampled(k=8)"


def overlap_of_draws(
    log_ratios: Float[Tensor, "batch candidates"], copies: Int[Tensor, "batch candidates"], alpha: float
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """log of the mean of (p/q)^α over draws from q, which estimates log Σ_y p(y)^α q(y)^(1−α); and 1/Σw² of the draws.

    The gradient of the first is α times that of log p under self-normalised weights w ∝ (p/q)^α.

    Args:
        log_ratios: log p(y) − log q(y) of distinct draws, in nats.
        copies: how often each was drawn; those with 0 count for nothing.
        alpha: α.

    Examples:
        >>> overlap, effective = overlap_of_draws(torch.tensor([[0.5, 1.5]]).log(), torch.tensor([[2, 2]]), 1.0)
        >>> round(overlap.exp().item(), 4), round(effective.item(), 4)
        (1.0, 3.2)
    """
    times = copies.to(log_ratios.dtype)
    powers = torch.where(times > 0, alpha * log_ratios + times.clamp(min=1).log(), -torch.inf)
    effective = 1 / (powers.detach().softmax(1).square() / times.clamp(min=1)).sum(1)
    return powers.logsumexp(1) - times.sum(1).log(), effective


@objectives.register("divergence")
@dataclass(frozen=True, kw_only=True)
class Divergence(Objective):
    """τ^α D_α(p, q), with D_α = −log Σ_y p(y|x)^α q(y|y*)^(1−α) / (α(1−α)), in nats: RML at 0, expected reward at 1.

    q is the payoff distribution and D_α Rényi's divergence of order α, divided by α. As α → 0 it becomes KL(q‖p), which
    `RML` minimises, and as α → 1 it becomes KL(p‖q), where τ KL(p‖q) is L_RL(τ) of `ExpectedReward` up to a constant.
    α = 0 and α = 1 *are* these objectives; at 1 with samples it is `REINFORCE` with ``entropy`` τ. The values at the
    two ends contain constants that those between them do not. The minimum is p = q for every α in between.

    The gradient is −E_w[∇ log p(y)] / (1 − α) with w ∝ p^α q^(1−α). The form (1 − S)/(α(1−α)) of the α-divergence, with
    S the sum above, has the same minimum and S times this gradient. S falls exponentially with the length of outputs,
    so that there the longest examples would teach nothing.

    With `Exact` the sum is the partition function of α times the scores of p plus 1 − α times those of q, computed in
    one pass. With `Sampled` it is the mean of (p/q)^α over draws from q, whose gradient has self-normalised importance
    weights. Its bias is O(1/k), towards the gradient of RML over 1 − α; bias and variance rise with α. Where q has no
    normaliser in closed form, the value in nats is larger by log Z_q / (1 − α), a constant.

    Attributes:
        alpha: α, 0 to 1.
        payoff: q, with its reward and temperature.
        estimator: `Exact`, or `Sampled` with draws from q, from p if α is 1. Between the ends it needs at least 2.
    """

    requires = ()  # α and the estimator determine what p must offer

    alpha: Annotated[float, Interval(least=0, most=1)] = 0.5
    payoff: Payoff = EditDistancePayoff(temperature=Temperature(rescaled=0.8))
    estimator: Estimator = Sampled(k=8)

    @classmethod
    def examples(cls) -> tuple["Divergence", ...]:
        """One with each estimator."""
        return cls(), cls(payoff=HammingPayoff(temperature=Temperature(rescaled=0.8)), estimator=Exact())

    @property
    def exact(self) -> bool:
        """True if the estimator is exact."""
        return self.estimator.exact

    @property
    def draws_in_step(self) -> bool:
        """True where α is 1; below it draws are those of q."""
        return self.alpha == 1

    @property
    def asked(self) -> tuple[Config, ...]:
        """The payoff's reward, which weighs draws between the ends and is learnt from at α = 1."""
        return (self.payoff.reward,) if self.alpha > 0 and not self.exact else ()

    def check(self) -> None:
        """Refuse other estimators, a payoff that the estimator cannot use, and a single draw."""
        payoff, law = type(self.payoff).__name__, self.payoff.distribution_class
        if isinstance(self.estimator, Exact):
            if not issubclass(law, LocalLogProb):
                raise ConfigError(
                    f"Divergence with Exact() needs a payoff that is a product over positions, but {payoff} is not; "
                    f"use HammingPayoff, or {SAMPLED}"
                )
            return
        if not isinstance(self.estimator, Sampled):
            given = type(self.estimator).__name__
            raise ConfigError(f"Divergence.estimator must be Exact() or Sampled(k=8), but got {given}()")
        if self.alpha > 0 and self.estimator.k < 2:
            raise ConfigError(
                f"Divergence(alpha={self.alpha:g}) compares draws with each other, so it needs at least 2, but got "
                f"estimator=Sampled(k=1); use {SAMPLED}"
            )
        known = issubclass(law, (LogProb, Score)) or self.alpha in (0, 1)
        if not issubclass(law, Sample) or not known:
            raise ConfigError(
                f"Divergence(alpha={self.alpha:g}) needs exact draws from q and their probability up to a constant, "
                f"which {payoff} does not have; use EditDistancePayoff or HammingPayoff"
            )

    def requirements(self) -> tuple[Requirement, ...]:
        """The verbs of the objective at that end, or of the sum."""
        verbs: tuple[type, ...] = (LogProb,) if self.alpha < 1 else (Sample, LogProb)
        if isinstance(self.estimator, Exact):
            ends: dict[float, tuple[type, ...]] = {0.0: (CrossEntropy,), 1.0: (ExpectedScore, Entropy)}
            verbs = ends.get(self.alpha, (Overlap,))
        purpose = f"Divergence(alpha={self.alpha:g}) with {type(self.estimator).__name__}()"
        return tuple(Requirement(verb, purpose, SAMPLED) for verb in verbs)

    def check_model(self, model: Model) -> None:
        """Also refuse lengths that do not fit."""
        super().check_model(model)
        check_lengths(self.payoff, model)
        if self.alpha == 1:
            check_reward(self.payoff.reward, model, "Divergence(alpha=1)")

    def same_as(self, model: Model) -> Objective | None:
        """The objective at that end, or what it equals in turn, where it can be named without the number of labels."""
        tau = self.payoff.temperature.literal
        if self.alpha == 0:
            end: Objective = RML(payoff=self.payoff, estimator=self.estimator)
        elif self.alpha == 1 and tau is not None:
            end = self._expected_reward(tau)
        else:
            return None
        return end.same_as(model) or end

    def state(self, sizes: Sizes) -> None:
        """None; lets the payoff read and check what it needs."""
        self.payoff.prepare(sizes)

    @property
    def drawn(self) -> int:
        """The number of samples from q; none where α is 1."""
        return 0 if self.alpha == 1 else self.estimator.drawn

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences | None:
        """Samples from q around the targets; None where α is 1."""
        if self.alpha == 1:
            return None
        return self.estimator.draw(distribution_of(self.payoff, targets, num_labels), generator)

    def losses(self, p: Any, targets: Sequences, context: StepContext) -> Losses:
        """The divergence of each example.

        With samples the diagnostics are those of the estimator, and ``effective_samples``, 1/Σw² over all draws.
        """
        tau = self.payoff.literal(p.num_labels)
        if self.alpha == 0:
            return losses_of(RML(payoff=self.payoff, estimator=self.estimator), p, targets, context)
        if self.alpha == 1:
            return losses_of(self._expected_reward(tau), p, targets, context)
        q = q_for(p, self.payoff, targets)
        factor = -math.exp(self.alpha * math.log(tau)) / (self.alpha * (1 - self.alpha))
        if isinstance(self.estimator, Exact):
            return Losses(factor * p.log_overlap(q.local_log_prob(), self.alpha))
        draws = context.draws if context.draws is not None else self.estimator.draw(q, context.generator)
        assert draws is not None, "Sampled draws"
        overlap, effective = self._from_draws(p, q, draws)
        return Losses(factor * overlap, self.estimator.diagnostics(draws, targets) | {"effective_samples": effective})

    def _expected_reward(self, tau: float) -> Objective:
        """L_RL(τ)."""
        if isinstance(self.estimator, Exact):
            return ExpectedReward(reward=self.payoff.reward, temperature=tau)
        return REINFORCE(reward=self.payoff.reward, samples=self.estimator.drawn, entropy=tau)

    def _from_draws(self, p: Any, q: Any, draws: Sequences) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """`overlap_of_draws`, with equal draws scored once where that is cheaper."""
        outputs, copies = draws, torch.ones_like(draws.lengths)
        if worth_merging(p, draws):
            outputs, copies = distinct(draws, copies)
        log_p = p.log_prob(outputs)
        log_q = q.log_prob(outputs) if isinstance(q, LogProb) else q.score(outputs)
        # float64, because a small α is divided by; what only repeats another draw is emptied and means nothing
        ratios = torch.where(copies > 0, log_p.double() - log_q.double(), 0.0)
        overlap, effective = overlap_of_draws(ratios, copies, self.alpha)
        return overlap.to(log_p.dtype), effective
