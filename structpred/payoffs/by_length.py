"""Proposals for the edit-distance payoff near its limit: a length first, then any string of that length.

A string of length n is at least |n − m| edits away from a reference of length m, so a^d(y,y*) ≤ a^|n−m|. Near the
limit, where V·a is almost 1, samples are long, and nearly all strings of that length contain the reference as a
subsequence. So the bound is tight there, where `structpred.payoffs.transducer` has far too many paths.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.payoffs.transducer import EditWeights, uniform_labels
from structpred.rewards.edit_distance import EditDistance
from structpred.sequences import Sequences


def log_weight(lengths: Int[Tensor, " batch"], weights: EditWeights) -> Float[Tensor, " batch"]:
    """ln Σ_y a^|n−m| = ln (Σ_n<m V^n a^(m−n) + V^m / (1 − V·a)), for each length m of a reference."""
    shorter, exact = _shares(lengths, weights)
    every = torch.cat([shorter, torch.full_like(exact, -math.log(weights.finished))], 1).logsumexp(1)
    return every + exact.squeeze(1)


def _shares(
    lengths: Int[Tensor, " draws"], weights: EditWeights
) -> tuple[Float[Tensor, "draws longest"], Float[Tensor, "draws 1"]]:
    """ln of the weight of all strings that are k = 1, 2, … labels shorter, relative to V^m; and ln V^m."""
    fewer = torch.arange(1, 1 + (int(lengths.max()) if len(lengths) else 0), device=lengths.device)
    each = fewer.double() * (weights.log_edit - math.log(weights.num_labels))
    shorter = torch.where(fewer <= lengths.unsqueeze(1), each, -torch.inf)
    return shorter, lengths.double().unsqueeze(1) * math.log(weights.num_labels)


def propose(
    references: Sequences, weights: EditWeights, rows: Int[Tensor, " draws"], generator: torch.Generator | None = None
) -> Sequences:
    """``[draws, time]``: one sample from a^|n−m| around each of the references in ``rows``."""
    sizes = references.lengths[rows]
    shorter, _ = _shares(sizes, weights)
    weight = torch.cat([torch.full((len(rows), 1), -math.log(weights.finished), device=sizes.device), shorter], 1)
    cumulative = weight.double().softmax(1).cumsum(1)
    uniform = torch.rand(len(rows), 2, generator=generator, device=sizes.device, dtype=torch.float64)
    fewer = torch.searchsorted(cumulative, uniform[:, :1] * cumulative[:, -1:], right=True).squeeze(1)
    fewer = fewer.minimum(sizes)
    more = (torch.log1p(-uniform[:, 1]) / weights.log_insertion).long()
    lengths = sizes + torch.where(fewer > 0, -fewer, more)
    longest = int(lengths.max()) if len(lengths) else 0
    labels = uniform_labels((len(rows), longest), weights.num_labels, sizes, generator)
    inside = torch.arange(longest, device=sizes.device) < lengths.unsqueeze(1)
    return Sequences(torch.where(inside, labels, 0), lengths)


def acceptance(outputs: Sequences, references: Sequences, weights: EditWeights) -> Float[Tensor, " batch"]:
    """a^(d(y,y*) − |n − m|), never above 1."""
    edits = -EditDistance().score(outputs.candidates(), references).squeeze(1).double()
    spare = edits - (outputs.lengths - references.lengths).abs()
    return (spare * weights.log_edit).exp()
