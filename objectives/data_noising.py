"""Data noising."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.distributions.protocols import Distribution, TokenLogProbsGiven
from structpred.errors import ConfigError
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives.label_smoothing import Frequencies
from structpred.objectives.scheduled_sampling import INSTEAD, share_changed
from structpred.registry import objectives
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Fraction


def noised(
    outputs: Sequences, rate: float, weights: Float[Tensor, " labels"], generator: torch.Generator | None
) -> Sequences:
    """Replace each label independently, with probability γ, by a sample from the weights, which may be the same label.

    Args:
        outputs: ``[batch, candidates, time]``.
        rate: γ.
        weights: a weight of at least 0 per label; they need not sum to one.
        generator: source of randomness.

    Examples:
        >>> clean = Sequences.of([[0, 1, 2]]).candidates()
        >>> noised(clean, 1.0, torch.tensor([0.0, 0.0, 1.0]), None).labels.tolist()
        [[[2, 2, 2]]]
    """
    inside = outputs.mask()
    coins = torch.rand(inside.shape, generator=generator, device=outputs.device)
    uniform = torch.rand(inside.shape, generator=generator, device=outputs.device, dtype=torch.float64)
    cumulative = weights.double().cumsum(0)
    # `right` skips labels of weight 0; rounding may push the product up to the total itself
    drawn = torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp(max=len(weights) - 1)
    labels = torch.where(coins < rate, drawn, outputs.labels)
    return Sequences(torch.where(inside, labels, 0), outputs.lengths)


@runtime_checkable
class AnyHistory(Distribution, TokenLogProbsGiven, Protocol):
    """A distribution that can be evaluated on any history."""


@objectives.register("data-noising")
@dataclass(frozen=True, kw_only=True)
class DataNoising(Objective):
    """E[−Σ_t log p(y*_t | h_<t, x)], in nats, where the history h is a noisy copy of the reference.

    Xie et al. 2017, arXiv 1703.02573: each symbol of the history is replaced with probability γ, and the target stays
    clean. One history is drawn per example and step. γ = 0 gives maximum likelihood. The paper's blank symbol is left
    out: our decoders have vectors only for the labels and the start.

    Attributes:
        rate: γ.
        noise: the distribution of replacements: ``"unigram"`` frequencies in training, or ``"uniform"``.
    """

    requires = (TokenLogProbsGiven,)
    instead = INSTEAD
    exact: ClassVar[bool] = False  # histories are drawn

    rate: Fraction = 0.1
    noise: Literal["unigram", "uniform"] = "unigram"

    def state(self, sizes: Sizes) -> nn.Module | None:
        """The unigram frequencies of the labels."""
        if self.noise == "uniform":
            return None
        return Frequencies(torch.tensor(sizes.label_counts, dtype=torch.get_default_dtype()))

    def losses(self, p: AnyHistory, targets: Sequences, context: StepContext) -> Losses:
        """The loss under one noisy history per example; the diagnostic is the fraction of its symbols that differ."""
        outputs = targets.candidates()
        history = noised(
            outputs, self.rate, self._weights(p.num_labels, targets.device, context.state), context.generator
        )
        losses = -p.token_log_probs_given(outputs, history).sum(-1).squeeze(1)
        return Losses(losses, {"changed": share_changed(history, outputs)})

    def _weights(self, num_labels: int, device: torch.device, state: nn.Module | None) -> Float[Tensor, " labels"]:
        if self.noise == "uniform":
            return torch.ones(num_labels, device=device)
        if not isinstance(state, Frequencies):
            raise ConfigError("DataNoising(noise='unigram') needs frequencies: pass state=objective.state(sizes)")
        return state.counts
