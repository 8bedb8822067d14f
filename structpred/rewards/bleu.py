"""Sentence BLEU as a reward, counted on label ids for a whole batch at once."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from structpred.config import Count
from structpred.registry import rewards
from structpred.rewards.base import Reward
from structpred.rewards.credit import added_by_each
from structpred.sequences import Sequences

Smoothing = Literal["exp", "floor", "add-k", "none"]

FLOOR = 0.1
ADDED = 1.0
"""What takes the place of no match, and what is added to matches and totals; sacrebleu's defaults."""


@rewards.register("bleu")
@dataclass(frozen=True, kw_only=True)
class SentenceBleu(Reward):
    """r(y, y*) = min(1, e^(1 − |y*|/|y|)) · (Π_n p_n)^(1/N), between 0 and 1; p_n are clipped n-gram precisions.

    The same number as sacrebleu's ``sentence_bleu`` over 100: N is the smaller of ``order`` and |y| (its effective
    order), an output without a single match scores 0, and so does an empty one. With several references an n-gram may
    match as often as in the one that has most of it, and the length that counts is the closest, of two the shorter;
    so they count together, not the best of them alone (Papineni et al. 2002).

    Attributes:
        order: the longest n-grams.
        smoothing: what p_n is where nothing matches: 1/(2^i · total) for the i-th such n (``"exp"``), 0.1/total
            (``"floor"``), or 0 (``"none"``); ``"add-k"`` adds 1 to matches and totals of all n > 1 (Chen and Cherry
            2014, methods 3, 1 and 2).
    """

    order: Count = 4
    smoothing: Smoothing = "exp"

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """BLEU of each candidate."""
        several = references if references.lengths.ndim == 2 else references.candidates()
        matches = prefix_matches(outputs, several, self.order)
        last = outputs.lengths[..., None, None].expand(-1, -1, 1, self.order)
        whole = matches.gather(2, last)
        return bleu(whole, outputs.lengths.unsqueeze(-1), several.lengths, self.smoothing).squeeze(-1).float()

    def increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """How each symbol changes the BLEU of what is there so far (Bahdanau et al. 2017); the end adds nothing."""
        several = references if references.lengths.ndim == 2 else references.candidates()
        matches = prefix_matches(outputs, several, self.order)
        lengths = torch.arange(matches.shape[2], device=outputs.device).expand(matches.shape[:3])
        potentials = bleu(matches, lengths, several.lengths, self.smoothing).float()
        return added_by_each(potentials, self.score(outputs, references), outputs)


def bleu(
    matches: Int[Tensor, "batch candidates prefixes order"],
    lengths: Int[Tensor, "batch candidates prefixes"],
    reference_lengths: Int[Tensor, "batch references"],
    smoothing: Smoothing,
) -> Float[Tensor, "batch candidates prefixes"]:
    """BLEU from its counts, in float64."""
    below = torch.arange(matches.shape[-1], device=matches.device)
    totals = (lengths.unsqueeze(-1) - below).clamp_min(0).double()
    used = below < lengths.unsqueeze(-1) if smoothing != "add-k" else torch.ones_like(matches, dtype=torch.bool)
    precision = _precisions(matches, totals, smoothing)
    mean = precision.log().where(used, 0.0).sum(-1) / used.sum(-1).clamp_min(1)
    closest = _closest(lengths, reference_lengths)
    brevity = (1 - closest.double() / lengths.clamp_min(1)).clamp_max(0.0).exp()
    return torch.where(matches.any(-1), brevity * mean.exp(), 0.0)


def _precisions(
    matches: Int[Tensor, "batch candidates prefixes order"],
    totals: Float[Tensor, "batch candidates prefixes order"],
    smoothing: Smoothing,
) -> Float[Tensor, "batch candidates prefixes order"]:
    """p_n as smoothed; what it is where there are no n-grams does not matter."""
    nothing = matches == 0
    if smoothing == "add-k":
        added = torch.full_like(totals, ADDED)
        added[..., 0] = 0.0
        return (matches + added) / (totals + added)
    if smoothing == "exp":
        found = matches.where(~nothing, 0.5 ** nothing.cumsum(-1).double())
    else:
        found = matches.where(~nothing, torch.full_like(totals, FLOOR if smoothing == "floor" else 0.0))
    return found / totals.clamp_min(1)


def _closest(
    lengths: Int[Tensor, "batch candidates prefixes"], references: Int[Tensor, "batch references"]
) -> Int[Tensor, "batch candidates prefixes"]:
    """The reference length nearest to each length; of two the shorter."""
    choices = references.sort(-1).values[:, None, None]
    nearest = (choices - lengths.unsqueeze(-1)).abs().argmin(-1, keepdim=True)
    return choices.expand(*lengths.shape, -1).gather(-1, nearest).squeeze(-1)


def prefix_matches(
    outputs: Sequences, references: Sequences, order: int
) -> Int[Tensor, "batch candidates prefixes order"]:
    """Clipped n-gram matches of every prefix of every candidate, n = 1..order.

    An n-gram that ends at position i matches if it has occurred there for the k-th time and some reference has it k
    times or more. So a prefix's matches are those of its positions, and all are counted in one pass.

    Args:
        outputs: ``[batch, candidates, time]``.
        references: ``[batch, references, time]``.
        order: the longest n-grams.
    """
    theirs = _equal(outputs, Sequences(references.labels.unsqueeze(1), references.lengths.unsqueeze(1)))
    own = _equal(outputs, Sequences(outputs.labels.unsqueeze(2), outputs.lengths.unsqueeze(2))).squeeze(2).tril()
    in_references, in_output = theirs, own
    counts = []
    for _ in range(order):
        occurrence = in_output.sum(-1)
        matched = (occurrence > 0) & (occurrence <= in_references.sum(-1).amax(2))
        counts.append(functional.pad(matched.cumsum(-1), (1, 0)))
        in_references, in_output = _longer(in_references, theirs), _longer(in_output, own)
    return torch.stack(counts, -1)


def _equal(outputs: Sequences, others: Sequences) -> Bool[Tensor, "batch candidates others time other_time"]:
    """Where a label of an output is one of another sequence's."""
    same = outputs.labels[:, :, None, :, None] == others.labels[..., None, :]
    return same & outputs.mask()[:, :, None, :, None] & others.mask()[..., None, :]


def _longer(pairs: Bool[Tensor, "*batch time other"], single: Bool[Tensor, "*batch time other"]) -> Tensor:
    """From pairs of equal n-grams, by their last positions, to pairs of equal (n + 1)-grams."""
    return functional.pad(pairs[..., :-1, :-1], (1, 0, 1, 0)) & single
