"""MIXER: likelihood for the beginning of an output, expected reward for the rest."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.distributions.protocols import Continuations, TokenLogProbs
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.candidates import collapse_diagnostics
from structpred.objectives.schedule import Point, moved
from structpred.registry import objectives
from structpred.rewards import EditDistance, Reward
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.values import Interval


def forced_steps(lengths: Int[Tensor, " batch"], share: float) -> Int[Tensor, " batch"]:
    """n = m + 1 − ⌊s (m + 1)⌋: the steps of the reference, including its end, that are trained by likelihood.

    Args:
        lengths: m, the number of labels in each reference.
        share: s, the fraction of steps that the model takes freely.

    Examples:
        >>> forced_steps(torch.tensor([3, 0]), 0.5).tolist()
        [2, 1]
    """
    return lengths + 1 - ((lengths + 1) * share).long()


def advantages(rewards: Float[Tensor, "batch candidates"]) -> Float[Tensor, "batch candidates"]:
    """r_i − mean_{j≠i} r_j: a leave-one-out baseline, which is unbiased.

    Examples:
        >>> advantages(torch.tensor([[1.0, 0.0, 2.0]])).tolist()
        [[0.0, -1.5, 1.5]]
    """
    apart = rewards - rewards[:, :1]  # so that equal rewards have none despite rounding
    return apart - (apart.sum(1, keepdim=True) - apart) / (apart.shape[1] - 1)


@runtime_checkable
class Continued(Continuations, TokenLogProbs, Protocol):
    """A distribution that continues a prefix and scores symbol by symbol."""


@objectives.register("mixer")
@dataclass(frozen=True, kw_only=True)
class Mixer(Objective):
    """−Σ_t≤n log p(y*_t|y*_<t, x) − E_y[r(y, y*)], where y is sampled as a continuation of y*_1..n.

    Ranzato et al. 2016, arXiv 1511.06732: likelihood first, then expected reward for an ever longer final part. The
    steps trained by likelihood shrink from the whole reference at ``start`` to none at ``end``. The second term is
    estimated by REINFORCE over the free steps, from ``k`` continuations, each compared with the mean reward of the
    others. Departures: the paper's baseline is a linear function of the decoder's state, ours is the leave-one-out
    mean; the paper's number of free steps D grows by a fixed number every few epochs, ours is a fraction of each
    reference that grows linearly.

    Attributes:
        reward: r.
        k: continuations of each reference, two or more.
        start: the point in training up to which this is maximum likelihood.
        end: the point from which every symbol is the model's own; in the same unit as ``start``.
    """

    requires = (Continuations, TokenLogProbs)
    instead = "REINFORCE mixed with MaximumLikelihood"
    draws_in_step = True
    exact: ClassVar[bool] = False  # continuations are sampled

    reward: Reward = EditDistance()
    k: Annotated[int, Interval(least=2)] = 4
    start: Point = Point(share=0.25)
    end: Point = Point(share=0.75)

    def check(self) -> None:
        """Refuse an end that is not after the start."""
        if (self.start.step is None) != (self.end.step is None) or self.end.place <= self.start.place:
            raise ConfigError(
                f"Mixer needs an end after its start, in the same unit, but got {self.start} and {self.end}; give two "
                "steps or two shares"
            )

    def losses(self, p: Continued, targets: Sequences, context: StepContext) -> Losses:
        """−log p of the forced steps, minus the mean reward with the gradient of E[r] over the free ones."""
        share = moved(context, self.start, self.end)
        forced = forced_steps(targets.lengths, share)
        references = p.token_log_probs(targets.candidates()).squeeze(1)
        steps = torch.arange(references.shape[1], device=targets.device)
        likelihood = torch.where(steps < forced.unsqueeze(1), references, 0.0).sum(1)
        free = forced <= targets.lengths
        shown = {"free": free.to(likelihood.dtype)}
        if not free.any():
            return Losses(-likelihood, shown)
        prefixes = Sequences(targets.labels, forced.minimum(targets.lengths))
        draws = p.continuations(prefixes, self.k, context.generator)
        rewards = scores_of(self.reward, draws, targets).to(likelihood.dtype)
        log_probs = p.token_log_probs(draws)
        own = torch.arange(log_probs.shape[-1], device=targets.device) >= forced.view(-1, 1, 1)
        chosen = torch.where(own & free.view(-1, 1, 1), log_probs, 0.0).sum(-1)
        gradient = (advantages(rewards) * chosen).mean(1)
        expected = torch.where(free, rewards.mean(1), 0.0) + gradient - gradient.detach()
        return Losses(-likelihood - expected, shown | collapse_diagnostics(draws, rewards, targets))
