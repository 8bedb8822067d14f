"""The edit-distance sampler published with RML, for reproduction."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.errors import ConfigError
from structpred.payoffs.base import Payoff
from structpred.payoffs.transducer import assemble, grouped, uniform_labels
from structpred.registry import payoffs
from structpred.rewards.edit_distance import EditDistance
from structpred.sequences import Sequences


def log_counts(lengths: Int[Tensor, " batch"], num_labels: int) -> Float[Tensor, "batch edits substitutions"]:
    """ln [C(m, s) · C(m + e − 2s, e − s) · V^e] for e < max m edits, s of them substitutions; −inf if impossible."""
    longest = max(int(lengths.max()) if len(lengths) else 0, 1)
    edits = torch.arange(longest, dtype=torch.float64, device=lengths.device).unsqueeze(1)
    substitutions = edits.T
    length = lengths.double().view(-1, 1, 1)
    possible = (substitutions <= edits) & (substitutions <= length)
    possible &= (edits < length) | (edits == 0)  # the published loop stops before m; an empty reference has e = 0
    ways = _log_choose(length, substitutions) + _log_choose(length + edits - 2 * substitutions, edits - substitutions)
    return torch.where(possible, ways + edits * math.log(num_labels), -torch.inf)


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    """ln C(n, k); outside 0 ≤ k ≤ n a meaningless value, without an error."""
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


@dataclass(frozen=True)
class PublishedEditDistanceDistribution:
    """The distribution of the published sampler; see `PublishedEditDistancePayoff`.

    Attributes:
        references: y*, ``[batch, time]``.
        num_labels: V.
        temperature: τ, literal.
    """

    fixed_length: ClassVar[bool] = False

    references: Sequences
    num_labels: int
    temperature: float

    def edits(self) -> Float[Tensor, "batch edits"]:
        """The probability of making e edits, e = 0..m−1."""
        return self._table(self.references.lengths).logsumexp(-1).softmax(-1)

    def _table(self, lengths: Int[Tensor, " batch"]) -> Float[Tensor, "batch edits substitutions"]:
        counts = log_counts(lengths, self.num_labels)
        edits = torch.arange(counts.shape[1], dtype=torch.float64, device=lengths.device)
        return counts - (edits / max(self.temperature, 1e-300)).unsqueeze(1)

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` independent samples."""
        references = self.references
        rows = torch.arange(len(references), device=references.device).repeat_interleave(k)
        substitutions, insertions = self._numbers(k, generator)
        labels, inside = references.labels[rows], references.mask()[rows]
        substituted = _subset(inside, substitutions, generator) & inside
        symbols = torch.where(substituted, uniform_labels(labels.shape, self.num_labels, labels, generator), labels)
        gaps = _spread(inside & ~substituted, insertions, generator)
        drawn = assemble(symbols.T, inside.T, gaps.T, self.num_labels, generator)
        return grouped(drawn, len(references), k)

    def _numbers(self, k: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The numbers of substitutions and insertions of each sample, ``[batch * k]``."""
        # one table per distinct length, not per reference
        given = self.references.lengths
        lengths = torch.tensor(sorted(set(given.tolist())), dtype=torch.long, device=given.device)
        row_of = torch.searchsorted(lengths, given)
        table = self._table(lengths)
        cumulative = table.flatten(1).softmax(-1).cumsum(-1)[row_of]  # [batch, edits * substitutions]
        shape = (len(row_of), k)
        uniform = torch.rand(shape, generator=generator, device=lengths.device, dtype=torch.float64)
        cell = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
        cell = cell.clamp(max=cumulative.shape[1] - 1).flatten()
        edits, substitutions = cell // table.shape[2], cell % table.shape[2]
        return substitutions, edits - substitutions


def _subset(
    inside: Bool[Tensor, "draws slots"], size: Int[Tensor, " draws"], generator: torch.Generator | None
) -> Bool[Tensor, "draws slots"]:
    """``size`` slots per row, chosen without replacement."""
    keys = torch.rand(inside.shape, generator=generator, device=inside.device, dtype=torch.float64)
    ranks = torch.where(inside, keys, 2.0).argsort(1).argsort(1)
    return ranks < size.unsqueeze(1)


def _spread(
    kept: Bool[Tensor, "draws time"], insertions: Int[Tensor, " draws"], generator: torch.Generator | None
) -> Int[Tensor, "draws slots"]:
    """Insertions in front of each kept symbol and at the end, every arrangement equally likely.

    Stars and bars: kept symbols and insertions form one row, and the positions of the insertions are a random subset.
    """
    bars = kept.sum(1)
    total = bars + insertions
    positions = torch.arange(int(total.max()) if len(total) else 0, device=kept.device)
    inside = positions < total.unsqueeze(1)
    stars = _subset(inside, insertions, generator) & inside
    gap = (inside & ~stars).cumsum(1)  # bars before this position
    in_gap = torch.zeros(len(kept), kept.shape[1] + 1, dtype=torch.long, device=kept.device)
    in_gap.scatter_add_(1, gap, stars.long())
    before = in_gap.gather(1, (kept.cumsum(1) - 1).clamp(min=0))
    return torch.cat([torch.where(kept, before, 0), in_gap.gather(1, bars.unsqueeze(1))], 1)


@payoffs.register("edit-distance-published")
@dataclass(frozen=True, kw_only=True)
class PublishedEditDistancePayoff(Payoff):
    """The approximate sampler released by the author of RML (Norouzi et al. 2016, and his gist).

    It draws e = 0..m−1 with p(e) ∝ Σ_s C(m, s) C(m + e − 2s, e − s) V^e · exp(−e/τ): s symbols are substituted and
    e − s inserted in the m − s + 1 gaps that the others leave. It is approximate: it never deletes; a substitute may
    be the symbol it replaces, so that fewer edits are made than drawn; strings with several alignments are counted
    several times, up to 2.9-fold on short references; and e never reaches m. `EditDistancePayoff` is exact.
    """

    distribution_class: ClassVar[type] = PublishedEditDistanceDistribution
    keeps_length: ClassVar[bool] = False

    @property
    def reward(self) -> EditDistance:
        """r of the payoff's formula."""
        return EditDistance()

    def check(self) -> None:
        """Refuse an edit rate, which depends on the length of each reference here."""
        if self.temperature.edit_rate is not None:
            raise ConfigError(
                "PublishedEditDistancePayoff takes a rescaled or a literal temperature, but got an edit_rate, which "
                "would depend on the length of each reference here; use EditDistancePayoff for that"
            )

    def literal(self, num_labels: int) -> float:
        """τ as in the formula: rescaled / (1 + ln V)."""
        if self.temperature.literal is not None:
            return self.temperature.literal
        assert self.temperature.rescaled is not None, "Temperature holds exactly one convention"
        return self.temperature.rescaled / (1 + math.log(num_labels))

    def rescaled(self, num_labels: int) -> float:
        """The published τ: literal · (1 + ln V)."""
        return self.literal(num_labels) * (1 + math.log(num_labels))

    def distribution(self, targets: Sequences, num_labels: int) -> PublishedEditDistanceDistribution:
        """The published distribution around each target ``[batch, time]``."""
        return PublishedEditDistanceDistribution(targets, num_labels, self.literal(num_labels))
