"""Sentence BLEU and GLEU as rewards, counted on label ids for a whole batch at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from structpred.registry import rewards
from structpred.rewards.base import Reward, added_by_each
from structpred.sequences import Sequences
from structpred.values import Count

Smoothing = Literal["exp", "floor", "add-k", "none"]

FLOOR = 0.1
ADDED = 1.0
"""The value that replaces zero matches, or is added to matches and totals; sacrebleu's defaults."""

BLOCK_CELLS = 2**19
"""Pairs of positions that are compared at once on a CPU."""


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

    pools_references: ClassVar[bool] = True

    order: Count = 4
    smoothing: Smoothing = "exp"

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """BLEU of each candidate, in float64."""
        several = references if references.lengths.ndim == 2 else references.candidates()
        matches = whole_matches(outputs, several, self.order)
        lengths = outputs.lengths.unsqueeze(-1)
        return bleu(matches.unsqueeze(2), lengths, several.lengths, self.smoothing).squeeze(-1)

    def increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """How each symbol changes the BLEU of the output so far (Bahdanau et al. 2017); the end adds nothing."""
        several = references if references.lengths.ndim == 2 else references.candidates()
        matches = prefix_matches(outputs, several, self.order)
        lengths = torch.arange(matches.shape[2], device=outputs.device).expand(matches.shape[:3])
        potentials = bleu(matches, lengths, several.lengths, self.smoothing).float()
        return added_by_each(potentials, self.score(outputs, references).float(), outputs)


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


def whole_matches(outputs: Sequences, references: Sequences, order: int) -> Int[Tensor, "batch candidates order"]:
    """Clipped n-gram matches of every candidate, n = 1..order.

    Args:
        outputs: ``[batch, candidates, time]``.
        references: ``[batch, references, time]``.
        order: the longest n-grams.
    """
    return torch.cat([_matched(*block, order).sum(0) for block in _blocks(outputs, references)])


def prefix_matches(
    outputs: Sequences, references: Sequences, order: int
) -> Int[Tensor, "batch candidates prefixes order"]:
    """Clipped n-gram matches of every prefix of every candidate, n = 1..order.

    Args:
        outputs: ``[batch, candidates, time]``.
        references: ``[batch, references, time]``.
        order: the longest n-grams.
    """
    matched = torch.cat([_matched(*block, order) for block in _blocks(outputs, references)], 1)
    return functional.pad(matched.cumsum(0), (0, 0, 0, 0, 0, 0, 1, 0)).permute(1, 2, 0, 3)


def _blocks(outputs: Sequences, references: Sequences) -> Iterator[tuple[Sequences, Sequences]]:
    """Some examples at a time, so that on a CPU their tables of pairs stay in the cache."""
    if outputs.device.type != "cpu" or not len(outputs):
        yield outputs, references
        return
    cells = outputs.labels[0].numel() * (outputs.labels.shape[-1] + references.labels[0].numel())
    size = max(1, BLOCK_CELLS // max(cells, 1))
    for start in range(0, len(outputs), size):
        block = slice(start, start + size)
        yield outputs.select(block), references.select(block)


def _matched(outputs: Sequences, references: Sequences, order: int) -> Bool[Tensor, "time batch candidates order"]:
    """Whether the n-gram that ends at a position matches: it is the k-th like it there, and a reference has k or more.

    Positions come first and outputs last, so that pairs are counted by adding up contiguous rows of bytes.
    """
    batch, candidates, time = outputs.labels.shape
    count_type = torch.uint8 if max(time, references.labels.shape[-1]) < 256 else torch.int32
    # neither padding equals a label, nor that of the other side
    labels = torch.where(outputs.mask(), outputs.labels, -1).int().flatten(0, 1).T.contiguous()
    others = torch.where(references.mask(), references.labels, -2).int().permute(1, 2, 0)
    others = others.repeat_interleave(candidates, -1)
    upto = torch.ones(time, time, dtype=torch.bool, device=labels.device).triu().unsqueeze(-1)
    own = (labels.unsqueeze(1) == labels) & upto  # [other time, time, outputs]
    theirs = others.unsqueeze(2) == labels  # [references, other time, time, outputs]
    in_output, in_references = own, theirs
    found = torch.zeros(time, labels.shape[1], order, dtype=torch.bool, device=labels.device)
    for n in range(min(order, time)):
        if n > 0:  # from pairs of equal n-grams, by their last positions, to pairs of equal (n + 1)-grams
            in_output = in_output[:-1, :-1] & own[n:, n:]
            in_references = in_references[:, :-1, :-1] & theirs[:, n:, n:]
        occurrence = in_output.sum(0, dtype=count_type)
        matched = (occurrence <= in_references.sum(1, dtype=count_type).amax(0)) & (labels[n:] >= 0)
        found[n:, :, n] = matched
    return found.view(time, batch, candidates, order)


@rewards.register("gleu")
@dataclass(frozen=True, kw_only=True)
class SentenceGleu(Reward):
    """r(y, y*) = m / max(n(y), n(y*)), between 0 and 1: the smaller of precision and recall over n-grams.

    m counts the n-grams of all orders that output and reference share, n(·) all that a sequence has (Wu et al. 2016,
    arXiv 1609.08144, section 4.3, where it is the reward). Symmetric, and smooth enough for single sentences. Empty
    against empty is 0, as in NLTK. It is not the GLEU of grammatical error correction.

    Attributes:
        order: the longest n-grams.
    """

    order: Count = 4

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """GLEU of each candidate against the best of its references, in float64."""
        found = [
            self._share(whole_matches(outputs, each.candidates(), self.order), outputs.lengths, each)
            for each in _one_by_one(references)
        ]
        return torch.stack(found).amax(0)

    def increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """How each symbol changes the GLEU of the output so far; the end adds nothing."""
        prefixes = torch.arange(outputs.labels.shape[-1] + 1, device=outputs.device).view(1, 1, -1)
        found = [
            self._share(prefix_matches(outputs, each.candidates(), self.order), prefixes, each)
            for each in _one_by_one(references)
        ]
        potentials = torch.stack(found).amax(0).float()
        scores = potentials.gather(2, outputs.lengths.unsqueeze(-1)).squeeze(-1)
        return added_by_each(potentials, scores, outputs)

    def _share(
        self, matches: Int[Tensor, "*outputs order"], lengths: Int[Tensor, "*lengths"], references: Sequences
    ) -> Float[Tensor, "*outputs"]:
        """Matches of all orders over the larger number of n-grams, for outputs whose first axis is the batch."""
        right = ngrams(references.lengths, self.order).view(-1, *[1] * (lengths.ndim - 1))
        most = torch.maximum(ngrams(lengths, self.order), right)
        return matches.sum(-1).double() / most.clamp_min(1)


def _one_by_one(references: Sequences) -> Iterator[Sequences]:
    """One reference of each example at a time, ``[batch, time]``."""
    several = references if references.lengths.ndim == 2 else references.candidates()
    for labels, lengths in zip(several.labels.unbind(1), several.lengths.unbind(1), strict=True):
        yield Sequences(labels, lengths)


def ngrams(lengths: Int[Tensor, "*n"], order: int) -> Int[Tensor, "*n"]:
    """How many n-grams of orders 1 to ``order`` sequences of these lengths have.

    Examples:
        >>> ngrams(torch.tensor([0, 1, 3, 9]), 2).tolist()
        [0, 1, 5, 17]
    """
    below = torch.arange(order, device=lengths.device)
    return (lengths.unsqueeze(-1) - below).clamp_min(0).sum(-1)
