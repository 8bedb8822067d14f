"""Reward-augmented maximum likelihood."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.distributions.protocols import Distribution
from structpred.errors import ConfigError
from structpred.models import Model
from structpred.objective import Given, Losses, Need, Objective
from structpred.objectives.estimators import Estimator, Exact, Sampled
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Payoff, Temperature
from structpred.registry import objectives
from structpred.sequences import Sequences


@objectives.register("rml")
@dataclass(frozen=True, kw_only=True)
class RML(Objective):
    """E_q[−log p(y|x)] with q(y|y*) ∝ exp(r(y, y*)/τ): cross-entropy from the payoff distribution, in nats.

    Norouzi et al. 2016 (arXiv 1609.00150). The gradient is −E_q[∇ log p(y|x)]; q has no parameters, so
    there is no reward in the gradient and nothing to balance. As τ → 0 this is maximum likelihood.

    Attributes:
        payoff: q, with its reward and temperature.
        estimator: how the expectation is computed; the paper draws one output per input per step.
    """

    payoff: Payoff = EditDistancePayoff(temperature=Temperature(rescaled=0.8))
    estimator: Estimator = Sampled(k=1)

    @classmethod
    def examples(cls) -> tuple["RML", ...]:
        """By either estimator."""
        exact = cls(payoff=HammingPayoff(temperature=Temperature(rescaled=0.8)), estimator=Exact())
        return cls(), exact

    @property
    def exact(self) -> bool:
        """True where the estimator is."""
        return self.estimator.exact

    def check(self) -> None:
        """Refuse a payoff that does not allow the estimator."""
        if not issubclass(self.payoff.distribution, self.estimator.verb_of_payoff):
            raise ConfigError(
                f"RML cannot take {type(self.estimator).__name__}() with {type(self.payoff).__name__}, "
                "whose distribution can only be drawn from; use estimator=Sampled(k=1), or Exact() with HammingPayoff"
            )

    def needs(self) -> tuple[Need, ...]:
        """``log_prob``, or ``cross_entropy_from`` where the estimator is exact."""
        return (self.estimator.need("RML"),)

    def check_model(self, model: Model) -> None:
        """Refuse a payoff whose draws differ in length on a model whose input decides the length."""
        super().check_model(model)
        if model.distribution.fixed_length and not self.payoff.keeps_length:
            raise ConfigError(
                f"{type(self.payoff).__name__} draws outputs of any length, but with {type(model).__name__} the input "
                "decides the length; use HammingPayoff, or a model of free length such as Seq2Seq"
            )

    @property
    def drawn(self) -> int:
        """As many as the estimator draws."""
        return self.estimator.drawn

    def draw(self, targets: Sequences, labels: int, generator: torch.Generator) -> Sequences | None:
        """What the estimator draws from q around the targets."""
        return self.estimator.draw(self.payoff.around(targets, labels), generator)

    def losses(self, p: Distribution, targets: Sequences, given: Given) -> Losses:
        """E_q[−log p(y|x)] of each example; the diagnostic is the share of draws that equal the reference."""
        q = self.payoff.around(targets, p.labels)
        draws = given.draws if given.draws is not None else self.estimator.draw(q, given.generator)
        diagnostics = {} if draws is None else {"unchanged": share_unchanged(draws, targets)}
        return Losses(self.estimator.cross_entropy(q, p, draws), diagnostics)


def share_unchanged(draws: Sequences, targets: Sequences) -> Float[Tensor, " batch"]:
    """The share of draws ``[batch, candidates, time]`` that equal their target ``[batch, time]``."""
    time = min(draws.labels.shape[-1], targets.labels.shape[-1])
    differ = draws.labels[..., :time] != targets.labels[:, None, :time]
    differ &= targets.mask()[:, None, :time]
    same = (draws.lengths == targets.lengths.unsqueeze(1)) & ~differ.any(-1)
    return same.double().mean(1)
