"""Reward-augmented maximum likelihood."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from structpred.distributions import Factorised
from structpred.distributions.protocols import Distribution, ExpectedScore, WeightedSample
from structpred.errors import ConfigError
from structpred.models import Model
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.estimators import Estimator, Exact, Sampled, SelfNormalised
from structpred.objectives.label_smoothing import LabelSmoothing
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Payoff, ReweightedPayoff, Temperature
from structpred.payoffs.base import distribution_of
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.task import Sizes


def check_lengths(payoff: Payoff, model: Model) -> None:
    """Refuse a payoff whose samples vary in length on a model whose input decides the length.

    Raises:
        ConfigError: the combination cannot work.
    """
    _check_lengths(payoff, model.distribution, type(model).__name__)


def q_for(p: Any, payoff: Payoff, targets: Sequences) -> Any:
    """q around the targets, over the labels of p.

    Raises:
        ConfigError: samples of q vary in length, but the input decides the length of p's outputs.
    """
    _check_lengths(payoff, p, type(p).__name__)
    return distribution_of(payoff, targets, p.num_labels)


def _check_lengths(payoff: Payoff, law: Any, name: str) -> None:
    if getattr(law, "fixed_length", False) and not payoff.keeps_length:
        raise ConfigError(
            f"{type(payoff).__name__} draws outputs of any length, but with {name} the input decides the length; use "
            "HammingPayoff, or a model of free length such as Seq2Seq"
        )


@objectives.register("rml")
@dataclass(frozen=True, kw_only=True)
class RML(Objective):
    """E_q[−log p(y|x)] with q(y|y*) ∝ exp(r(y, y*)/τ): cross-entropy from the payoff distribution, in nats.

    Norouzi et al. 2016 (arXiv 1609.00150). The gradient is −E_q[∇ log p(y|x)]; q has no parameters, so the gradient
    contains no reward and needs no baseline. As τ → 0 this becomes maximum likelihood.

    Attributes:
        payoff: q, with its reward and temperature.
        estimator: how the expectation is computed; the paper samples one output per input per step.
    """

    requires = ()  # the estimator determines what p must offer

    payoff: Payoff = EditDistancePayoff(temperature=Temperature(rescaled=0.8))
    estimator: Estimator = Sampled(k=1)

    @classmethod
    def examples(cls) -> tuple["RML", ...]:
        """One with each estimator."""
        exact = cls(payoff=HammingPayoff(temperature=Temperature(rescaled=0.8)), estimator=Exact())
        return cls(), exact, cls(payoff=ReweightedPayoff(), estimator=SelfNormalised())

    @property
    def exact(self) -> bool:
        """True if the estimator is exact."""
        return self.estimator.exact

    def check(self) -> None:
        """Refuse a payoff that does not support the estimator."""
        law = self.payoff.distribution_class
        if issubclass(law, self.estimator.requires_of_payoff):
            return
        if issubclass(law, WeightedSample):
            how, able = "offers only weighted samples", "estimator=SelfNormalised(k=5)"
        elif issubclass(self.estimator.requires_of_payoff, WeightedSample):
            how, able = "offers samples without weights", "estimator=Sampled(k=1)"
        else:
            how, able = "can only be sampled from", "estimator=Sampled(k=1), or Exact() with HammingPayoff"
        raise ConfigError(
            f"RML cannot take {type(self.estimator).__name__}() with {type(self.payoff).__name__}, "
            f"whose distribution {how}; use {able}"
        )

    def check_model(self, model: Model) -> None:
        """Refuse a payoff whose samples vary in length on a model whose input decides the length."""
        super().check_model(model)
        check_lengths(self.payoff, model)

    def same_as(self, model: Model) -> LabelSmoothing | None:
        """Label smoothing over the other labels, where p and q both treat every position by itself.

        That is so under any temperature; the ε is known without the number of labels where it is given as an edit rate.
        """
        if not (isinstance(self.payoff, HammingPayoff) and isinstance(self.estimator, Exact)):
            return None
        edit_rate = self.payoff.temperature.edit_rate
        if edit_rate is None or not issubclass(model.distribution, Factorised):
            return None
        return LabelSmoothing(epsilon=edit_rate, mass="others")

    def in_expectation(self) -> "RML | None":
        """In closed form, where independent draws from q estimate it and q has expectations in closed form."""
        known = issubclass(self.payoff.distribution_class, ExpectedScore)
        return replace(self, estimator=Exact()) if known and isinstance(self.estimator, Sampled) else None

    def state(self, sizes: Sizes) -> None:
        """None; lets the payoff read and check what it needs."""
        self.payoff.prepare(sizes)

    @property
    def drawn(self) -> int:
        """The number of samples that the estimator draws."""
        return self.estimator.drawn

    def draw(self, targets: Sequences, num_labels: int, generator: torch.Generator) -> Sequences | None:
        """The estimator's samples from q around the targets."""
        return self.estimator.draw(distribution_of(self.payoff, targets, num_labels), generator)

    def losses(self, p: Distribution, targets: Sequences, context: StepContext) -> Losses:
        """E_q[−log p(y|x)] of each example, with the estimator's diagnostics of its samples."""
        q = q_for(p, self.payoff, targets)
        draws = context.draws if context.draws is not None else self.estimator.draw(q, context.generator)
        diagnostics = {} if draws is None else self.estimator.diagnostics(draws, targets)
        return Losses(self.estimator.cross_entropy(q, p, draws), diagnostics)
