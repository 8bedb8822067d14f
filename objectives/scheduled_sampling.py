"""Scheduled sampling."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.config import Config
from structpred.distributions.protocols import MixedHistory, TokenLogProbsGiven
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.values import Interval

INSTEAD = "MaximumLikelihood (a model that reads no history cannot be fed its own symbols)"

Probability = Annotated[float, Interval(least=0, most=1)]


@dataclass(frozen=True, kw_only=True)
class Decay(Config):
    """A probability ε that moves from ``first`` to ``last`` as the fraction of training done goes from 0 to 1.

    The published schedules count steps i. As functions of s = i / steps, each is linear on its own scale: ε = k − c·i
    in ε, ε = k^i in ln ε, and ε = k / (k + exp(i/k)) in the log-odds ln(ε / (1 − ε)) = ln k − i/k.

    Attributes:
        kind: ``"linear"``, ``"exponential"`` or ``"inverse-sigmoid"``.
        first, last: ε at the start and at the end of training.
    """

    kind: Literal["linear", "exponential", "inverse-sigmoid"] = "linear"
    first: Probability = 1.0
    last: Probability = 0.5

    def check(self) -> None:
        """Refuse values that are infinite on the scale of the schedule."""
        ends = (self.first, self.last)
        if (self.kind != "linear" and 0.0 in ends) or (self.kind == "inverse-sigmoid" and 1.0 in ends):
            raise ConfigError(
                f"an {self.kind} decay never reaches 0{' or 1' if self.kind == 'inverse-sigmoid' else ''}, but got "
                f"first={self.first:g} and last={self.last:g}; move them inwards, or use kind='linear'"
            )

    def at(self, share: float) -> float:
        """ε after a fraction ``share`` of training."""
        if self.kind == "linear":
            return self.first + (self.last - self.first) * share
        if self.kind == "exponential":
            return self.first * math.exp(share * math.log(self.last / self.first))
        log_odds = [math.log(end) - math.log1p(-end) for end in (self.first, self.last)]
        return 1 / (1 + math.exp(-log_odds[0] - (log_odds[1] - log_odds[0]) * share))


@runtime_checkable
class FreeHistory(TokenLogProbsGiven, MixedHistory, Protocol):
    """A distribution that can be evaluated on any history and can sample its own."""


@objectives.register("scheduled-sampling")
@dataclass(frozen=True, kw_only=True)
class ScheduledSampling(Objective):
    """−Σ_t log p(y*_t | h_<t, x), in nats, where some symbols of the history h are the model's own.

    Bengio et al. 2015, arXiv 1506.03099. A coin for each position decides: with probability ε h_t is the reference's
    symbol, otherwise a draw from p(· | h_<t, x); the target stays the reference's. As ε falls the model learns to
    continue from its own mistakes. No gradient passes through the draws, so for ε < 1 this is the gradient of no loss
    of p alone, and its optimum need not be the data's law. At ε = 1 it is maximum likelihood. A draw is never the end
    of the output: the target continues at that position, and so must its history.

    Attributes:
        reference: ε, the probability of the reference's symbol, as training progresses.
    """

    requires = (TokenLogProbsGiven, MixedHistory)
    instead = INSTEAD
    exact: ClassVar[bool] = False  # histories are sampled

    reference: Decay = Decay()

    def losses(self, p: FreeHistory, targets: Sequences, context: StepContext) -> Losses:
        """The loss under one sampled history per example; the diagnostic is the fraction of its symbols that differ."""
        outputs = targets.candidates()
        coins = torch.rand(outputs.labels.shape, generator=context.generator, device=targets.device)
        epsilon = self.reference.at(context.share)
        own = coins >= epsilon
        history = outputs if epsilon >= 1 else p.mixed_history(outputs, own, context.generator)
        return Losses(
            -p.token_log_probs_given(outputs, history).sum(-1).squeeze(1), {"changed": share_changed(history, outputs)}
        )


def share_changed(history: Sequences, outputs: Sequences) -> Float[Tensor, " batch"]:
    """The fraction of symbols that differ in the history ``[batch, 1, time]``; 0 for an empty output."""
    differ = (history.labels != outputs.labels) & outputs.mask()
    return (differ.sum(-1) / outputs.lengths.clamp(min=1)).squeeze(1)
