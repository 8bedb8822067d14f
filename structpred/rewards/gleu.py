"""Sentence GLEU as a reward, counted on label ids for a whole batch at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.config import Count
from structpred.registry import rewards
from structpred.rewards.base import Reward
from structpred.rewards.bleu import prefix_matches
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
        """GLEU of each candidate against the best of its references."""
        every = self._of_prefixes(outputs, references)
        return every.gather(2, outputs.lengths.unsqueeze(-1)).squeeze(-1)

    def increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """How each symbol changes the GLEU of what is there so far; the end adds nothing."""
        every = self._of_prefixes(outputs, references)
        scores = every.gather(2, outputs.lengths.unsqueeze(-1)).squeeze(-1)
        return added_by_each(every, scores, outputs)

    def _of_prefixes(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates prefixes"]:
        """GLEU of y_1..t for t = 0..time."""
        several = references if references.lengths.ndim == 2 else references.candidates()
        prefixes = torch.arange(outputs.labels.shape[-1] + 1, device=outputs.device)
        own = ngrams(prefixes, self.order)
        found = []
        for labels, lengths in zip(several.labels.unbind(1), several.lengths.unbind(1), strict=True):
            matches = prefix_matches(outputs, Sequences(labels, lengths).candidates(), self.order).sum(-1)
            most = torch.maximum(own, ngrams(lengths, self.order).unsqueeze(1)).unsqueeze(1)
            found.append(matches.double() / most.clamp_min(1))
        return torch.stack(found).amax(0).float()


def ngrams(lengths: Int[Tensor, " n"], order: int) -> Int[Tensor, " n"]:
    """How many n-grams of orders 1 to ``order`` sequences of these lengths have.

    >>> ngrams(torch.tensor([0, 1, 3, 9]), 2).tolist()
    [0, 1, 5, 17]
    """
    below = torch.arange(order, device=lengths.device)
    return (lengths.unsqueeze(-1) - below).clamp_min(0).sum(-1)
