"""A payoff for any reward: a named base measure, reweighted by exp(r/τ)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from structpred.errors import ConfigError
from structpred.payoffs.base import Payoff, Temperature
from structpred.payoffs.base_measures import AroundPayoff, BaseMeasure, proposals_of
from structpred.registry import payoffs
from structpred.rewards.base import Reward, scores_of
from structpred.rewards.bleu import SentenceBleu
from structpred.sequences import Sequences
from structpred.task import Sizes

COLDEST = 1e-30
"""Minimum temperature: a lower one changes nothing, but quotients overflow."""


@dataclass(frozen=True)
class ReweightedDistribution:
    """q(y) ∝ μ(y) exp(r(y, y*)/τ), represented by weighted samples only.

    Attributes:
        references: y*, ``[batch, time]``.
        num_labels: V.
        reward: r.
        temperature: τ, literal.
        base: μ.
    """

    references: Sequences
    num_labels: int
    reward: Reward
    temperature: float
    base: BaseMeasure

    @torch.no_grad()
    def weighted_sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` independent samples from the base's proposal g, with w_i ∝ μ(y_i)/g(y_i)·exp(r(y_i)/τ).

        The weights of an example sum to one over its samples. Σ_i w_i f(y_i) estimates E_q[f] with a bias of O(1/k).

        Raises:
            ConfigError: k is 1, where the weight would be 1 for any reward; or the reward fails.
        """
        if k < 2:
            raise ConfigError(
                f"a reweighted payoff needs k of at least 2, but got {k}: a single sample always has the weight 1, "
                "so the reward would be ignored; use estimator=SelfNormalised(k=5)"
            )
        drawn = proposals_of(self.base, self.references, self.num_labels, k, generator)
        rewards = scores_of(self.reward, drawn.outputs, self.references).double()
        weights = (drawn.log_ratio + rewards / max(self.temperature, COLDEST)).softmax(1)
        return Sequences(drawn.outputs.labels, drawn.outputs.lengths, weights=weights)


@payoffs.register("reweighted")
@dataclass(frozen=True, kw_only=True)
class ReweightedPayoff(Payoff):
    """q(y|y*) ∝ μ(y|y*)·exp(r(y, y*)/τ) for any reward r, by self-normalised importance weights.

    It needs an objective with ``estimator=SelfNormalised(k=...)``. With uniform μ, this is the distribution of RML
    (Norouzi et al. 2016). μ is explicit because every method for rewards such as BLEU has one, usually unstated.

    Attributes:
        reward: r.
        temperature: τ, literal, in units of the reward, so choose it with the reward: at τ = 0.2, 0.2 more BLEU weighs
            e times as much, and one edit less e^5 times.
        base: μ, from which candidates are drawn.
    """

    distribution_class: ClassVar[type] = ReweightedDistribution

    reward: Reward = SentenceBleu()  # a field; other payoffs have a property
    temperature: Temperature = Temperature(literal=0.2)
    base: BaseMeasure = AroundPayoff()

    def check(self) -> None:
        """Refuse conventions of τ that only apply to distances, and a reward that does not fit the base's outputs."""
        if self.temperature.literal is None:
            given = "rescaled" if self.temperature.rescaled is not None else "edit_rate"
            raise ConfigError(
                "ReweightedPayoff takes temperature=Temperature(literal=...), in units of its reward, but got "
                f"{given}, which applies only to distances; use it for the payoff of its base"
            )
        if self.reward.same_length and not self.base.keeps_length:
            raise ConfigError(
                f"the reward {type(self.reward).__name__} needs outputs as long as their references, but the base "
                f"measure {type(self.base).__name__} also proposes other lengths; use one that keeps the "
                "length, or the reward EditDistance"
            )

    @property
    def keeps_length(self) -> bool:
        """The base's."""
        return self.base.keeps_length

    def literal(self, num_labels: int) -> float:
        """τ, independent of V."""
        del num_labels
        assert self.temperature.literal is not None, "checked at construction"
        return self.temperature.literal

    def distribution(self, targets: Sequences, num_labels: int) -> ReweightedDistribution:
        """q around each target ``[batch, time]``."""
        return ReweightedDistribution(targets, num_labels, self.reward, self.literal(num_labels), self.base)

    def prepare(self, sizes: Sizes) -> None:
        """Prepare the base."""
        self.base.prepare(sizes)
