"""Optimal completion distillation."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.distributions.protocols import Distribution, Sample, Steps, StepScores
from structpred.errors import ConfigError
from structpred.models import Model
from structpred.objective import Losses, Objective, StepContext
from structpred.registry import objectives
from structpred.rewards.edit_distance import prefix_distances
from structpred.sequences import Sequences
from structpred.values import Count, Interval


def excess_edits(
    outputs: Sequences, references: Sequences, num_labels: int
) -> Int[Tensor, "batch candidates steps symbols"]:
    """The number of edits beyond the minimum that each next symbol leads to at best; 0 for the optimal ones.

    With D[t, j] the edit distance between y_1..t and y*_1..j, the best completion of y_1..t ends min_j D[t, j] away
    from the reference. y*_j+1 keeps that minimum for every j that attains it; any other label costs one edit more; and
    the end costs D[t, m] − min_j D[t, j].

    Args:
        outputs: y, ``[batch, candidates, time]``; the result has time + 1 steps.
        references: y*, ``[batch, time]``.
        num_labels: V; the end is the last of the V + 1 symbols.

    Examples:
        >>> excess_edits(Sequences.of([[0]]).candidates(), Sequences.of([[0, 1]]), 2).tolist()
        [[[[0, 1, 2], [1, 0, 1]]]]
    """
    distances = prefix_distances(outputs, references)
    columns = torch.arange(distances.shape[-1], device=distances.device)
    lengths = references.lengths.view(-1, 1, 1, 1)
    distances = distances.masked_fill(columns > lengths, torch.iinfo(distances.dtype).max)
    more = distances - distances.amin(-1, keepdim=True)
    end = more.gather(-1, lengths.expand(*more.shape[:-1], 1))
    upcoming = torch.where(references.mask(), references.labels, 0)[:, None, None].expand_as(more[..., :-1])
    missed = torch.where(columns[:-1] < lengths, more[..., :-1], 1).clamp(max=1)
    others = more.new_ones(*more.shape[:-1], num_labels).scatter_reduce(-1, upcoming, missed, "amin")
    return torch.cat([others, end], -1)


def optimal_policy(
    excess: Float[Tensor, "batch candidates steps symbols"], temperature: float
) -> Float[Tensor, "batch candidates steps symbols"]:
    """π(v) ∝ exp(−excess(v)/τ); at τ = 0 uniform over the symbols without excess, at least one of which always exists.

    Examples:
        >>> optimal_policy(torch.tensor([[[[0.0, 1.0, 0.0]]]]), 0.0).tolist()
        [[[[0.5, 0.0, 0.5]]]]
    """
    if temperature:
        return (-excess / temperature).softmax(-1)
    optimal = (excess == 0).to(excess.dtype)
    return optimal / optimal.sum(-1, keepdim=True)


def policy_divergence(policy: Float[Tensor, "batch candidates steps symbols"], steps: Steps) -> Float[Tensor, " batch"]:
    """Σ_t KL(π_t ‖ p_t) of each candidate, in nats, averaged over candidates; 0 if p equals π at every step.

    The cross-entropy −Σ_t Σ_v π_t(v) log p_t(v) equals this plus Σ_t H(π_t), which has no gradient.

    Examples:
        >>> steps = Steps(torch.tensor([[[[0.5, 0.5]]]]).log(), torch.tensor([[[0]]]), torch.tensor([[[True]]]))
        >>> round(policy_divergence(torch.tensor([[[[1.0, 0.0]]]]), steps).item(), 4)  # ln 2
        0.6931
    """
    log_ratio = torch.where(policy > 0, policy.log() - steps.log_probs, 0.0)
    return torch.where(steps.mask, (policy * log_ratio).sum(-1), 0.0).sum(-1).mean(1)


@runtime_checkable
class Roaming(Distribution, Sample, StepScores, Protocol):
    """A distribution that samples its own prefixes and gives the probabilities of every next symbol."""


def _check_lengths(law: Any, name: str) -> None:
    if law.fixed_length:
        raise ConfigError(
            f"OptimalCompletion completes outputs with any number of edits, but with {name} the input decides the "
            "length; use MaximumLikelihood, MaxMargin or RML with HammingPayoff, or a model of free length such as "
            "Seq2Seq"
        )


@objectives.register("optimal-completion")
@dataclass(frozen=True, kw_only=True)
class OptimalCompletion(Objective):
    """E_y∼p[Σ_t KL(π_t ‖ p_t)], in nats, with π_t over the next symbols that reach the reference with the fewest edits.

    Optimal completion distillation, Sabour et al. 2018, arXiv 1810.01398. The prefixes are sampled from the model,
    without gradient through the sampling. At τ = 0, the paper's setting, π_t is uniform over the symbols that begin a
    completion of least edit distance; the end is one of them if stopping is optimal. Along the reference itself, only
    the reference's next symbol is optimal unless symbols repeat. Departures: losses are not divided by an output's
    length, and at τ > 0 the end costs all symbols that are still missing, whereas the paper counts one edit for every
    non-optimal symbol.

    Attributes:
        temperature: τ, in edits for a factor of e: π_t(v) ∝ exp(−excess edits of v / τ).
        k: samples per example.
    """

    requires = (Sample, StepScores)
    draws_in_step = True
    exact: ClassVar[bool] = False  # prefixes are sampled

    temperature: Annotated[float, Interval(least=0)] = 0.0
    k: Count = 1

    def check_model(self, model: Model) -> None:
        """Refuse a model whose input decides the length: edit distance inserts and deletes."""
        _check_lengths(model.distribution, type(model).__name__)
        super().check_model(model)

    def losses(self, p: Roaming, targets: Sequences, context: StepContext) -> Losses:
        """The divergence along ``k`` sampled outputs.

        Diagnostics, as means over their steps: the number of optimal symbols, and the fraction of steps that took one.
        """
        _check_lengths(p, type(p).__name__)
        steps = p.steps(outputs := p.sample(self.k, context.generator))
        excess = excess_edits(outputs, targets, p.num_labels)
        optimal = excess == 0
        followed = optimal.gather(-1, steps.targets.unsqueeze(-1)).squeeze(-1)
        return Losses(
            policy_divergence(optimal_policy(excess.to(steps.log_probs.dtype), self.temperature), steps),
            {"optimal": _mean(optimal.sum(-1), steps.mask), "followed": _mean(followed, steps.mask)},
        )


def _mean(values: Tensor, mask: Bool[Tensor, "batch candidates steps"]) -> Float[Tensor, " batch"]:
    """The mean over the steps that count, of which every output has at least one."""
    return torch.where(mask, values, 0).sum((1, 2)) / mask.sum((1, 2))
