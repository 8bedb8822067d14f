"""Sentence GLEU as a reward, counted on label ids for a whole batch at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.config import Count
from structpred.registry import rewards
from structpred.rewards.base import Reward
from structpred.rewards.bleu import prefix_matches, whole_matches
from structpred.rewards.credit import added_by_each
from structpred.sequences import Sequences


@rewards.register("gleu")
@dataclass(frozen=True, kw_only=True)
class SentenceGleu(Reward):
    """r(y, y*) = m / max(n(y), n(y*)), between 0 and 1: the smaller of precision and recall over n-grams.

    m counts the n-grams of all orders that output and reference share, n(·) all that a sequence has (Wu et al. 2016,
    arXiv 1609.08144, section 4.3, where it is the reward). Symmetric, and smooth enough for single sentences. Nothing
    for nothing is 0, as in NLTK. It is not the GLEU of grammatical error correction.

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
        """How each symbol changes the GLEU of what is there so far; the end adds nothing."""
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

    >>> ngrams(torch.tensor([0, 1, 3, 9]), 2).tolist()
    [0, 1, 5, 17]
    """
    below = torch.arange(order, device=lengths.device)
    return (lengths.unsqueeze(-1) - below).clamp_min(0).sum(-1)
