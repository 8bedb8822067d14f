"""The n-gram replacement published with RML for BLEU, with its density."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from structpred.config import Count
from structpred.payoffs.base_measures import BaseMeasure, Proposals, Substitutes, substitute_counts
from structpred.registry import base_measures
from structpred.sequences import Sequences


@base_measures.register("n-gram-replacement")
@dataclass(frozen=True, kw_only=True)
class NGramReplacement(BaseMeasure):
    """μ lives on the outputs that differ from the reference within n neighbouring symbols at most.

    Draws choose n uniformly from 1 to the smaller of ``longest`` and m, one of the m − n + 1 spans of n symbols
    uniformly, and n independent symbols with probabilities s, which may be those that stood there. Several spans can
    lead to one output, so with N = min(longest, m) the density of a draw is

        g(y|y*) = Σ_{n=1..N} 1/N Σ_i 1/(m − n + 1) [y equals y* outside the span i..i+n−1] Π_{t in the span} s(y_t).

    This is how BLEU was sampled for in code published after RML (Norouzi et al. 2016), which weighs the draws as
    if their density were uniform.

    Attributes:
        longest: the longest span.
        substitutes: s: uniform over ``"all"`` labels or over those of the ``"batch"``, or ``"unigram"`` frequencies.
        density: ``"divided out"`` makes μ uniform over all outputs that can be drawn; ``"kept"`` makes μ the law of
            the draws.
    """

    longest: Count = 4
    substitutes: Substitutes = "all"
    density: Literal["divided out", "kept"] = "divided out"

    @property
    def keeps_length(self) -> bool:
        """True."""
        return True

    def propose(self, references: Sequences, labels: int, k: int, generator: torch.Generator | None) -> Proposals:
        """Draws of g, with −ln g as their ratio, or 0."""
        counts = substitute_counts(references, labels, self.substitutes)
        old = torch.where(references.mask(), references.labels, 0).unsqueeze(1).expand(-1, k, -1)
        lengths = references.lengths.unsqueeze(1).expand(-1, k)
        n = _whole(lengths.clamp(max=self.longest), generator) + 1
        start = _whole(lengths - n + 1, generator).unsqueeze(-1)
        time = torch.arange(old.shape[-1], device=old.device)
        span = (time >= start) & (time < start + n.unsqueeze(-1)) & (time < lengths.unsqueeze(-1))
        cumulative = counts.cumsum(0)
        place = _whole(cumulative[-1].expand(old.shape), generator)
        outputs = Sequences(torch.where(span, torch.searchsorted(cumulative, place, right=True), old), lengths.clone())
        if self.density == "kept":
            return Proposals(outputs, torch.zeros(lengths.shape, dtype=torch.float64, device=old.device))
        log_shares = counts.double().log() - counts.sum().double().log()
        changed = (outputs.labels != old) & outputs.mask()
        return Proposals(outputs, -log_density(outputs, changed, log_shares, self.longest))


def log_density(
    outputs: Sequences,
    changed: Bool[Tensor, "batch candidates time"],
    log_shares: Float[Tensor, " labels"],
    longest: int,
) -> Float[Tensor, "batch candidates"]:
    """ln g(y|y*): see `NGramReplacement`.

    Args:
        outputs: y, ``[batch, candidates, time]``.
        changed: where y differs from y*.
        log_shares: ln s of each label.
        longest: the longest span.
    """
    time, lengths = outputs.labels.shape[-1], outputs.lengths
    along = torch.where(outputs.mask(), log_shares[outputs.labels], 0.0)
    before = torch.nn.functional.pad(along.cumsum(-1), (1, 0))  # ln Π of s over the symbols before each place
    places = torch.arange(time, device=outputs.device)
    first = torch.where(changed, places, time).amin(-1, keepdim=True) if time else lengths.unsqueeze(-1)
    last = torch.where(changed, places, -1).amax(-1, keepdim=True) if time else lengths.unsqueeze(-1) - 1
    terms = [torch.where(lengths > 0, -torch.inf, 0.0).double()]  # an empty output has no span, and is certain
    for n in range(1, min(longest, time) + 1):
        start = places[: time - n + 1]
        covers = (start <= first) & (start + n > last) & (start + n <= lengths.unsqueeze(-1))
        product = (before[..., n:] - before[..., : time - n + 1]).masked_fill(~covers, -torch.inf).logsumexp(-1)
        terms.append(product - (lengths - n + 1).clamp(min=1).double().log())
    choices = lengths.clamp(min=1, max=longest).double().log()
    return torch.stack(terms).logsumexp(0) - choices


def _whole(below: Tensor, generator: torch.Generator | None) -> Tensor:
    """A whole number from 0 to ``below`` − 1, uniformly; 0 where there is none."""
    uniform = torch.rand(below.shape, generator=generator, device=below.device, dtype=torch.float64)
    return (uniform * below).long().minimum((below - 1).clamp(min=0))
