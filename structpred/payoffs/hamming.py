"""The Hamming payoff, which factorises over positions."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from structpred.distributions.factorised import expected_under
from structpred.distributions.protocols import LocalScores, refuse_others
from structpred.errors import ConfigError
from structpred.payoffs.base import Payoff
from structpred.registry import payoffs
from structpred.rewards.hamming import Hamming
from structpred.sequences import Sequences

STEEPEST = 1e300
"""Maximum of 1/τ: larger values change nothing but overflow."""


@dataclass(frozen=True)
class HammingDistribution:
    """q(y) ∝ exp(−Hamming(y, y*)/τ): with a = exp(−1/τ), Π_t of 1/(1 + (V−1)a) for y*_t and a times that for others.

    Like a `Factorised`, but without a table of V labels unless its marginals are requested.

    Attributes:
        references: y*, ``[batch, time]``.
        num_labels: V.
        temperature: τ, literal.
    """

    fixed_length: ClassVar[bool] = True

    references: Sequences
    num_labels: int
    temperature: float

    @property
    def cost(self) -> float:
        """1/τ: nats per edit."""
        return STEEPEST if self.temperature * STEEPEST <= 1 else 1 / self.temperature

    @property
    def log_odds(self) -> float:
        """ln (V − 1)a, the log-odds of changing a position; −inf for a single label."""
        return math.log(self.num_labels - 1) - self.cost if self.num_labels > 1 else -math.inf

    @property
    def log_normaliser(self) -> float:
        """ln(1 + (V − 1)a) of one position."""
        return max(self.log_odds, 0.0) + math.log1p(math.exp(-abs(self.log_odds)))

    @property
    def change(self) -> float:
        """ε = (V − 1)a / (1 + (V − 1)a): the probability that a position differs from the reference."""
        return math.exp(self.log_odds - self.log_normaliser)

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` exact samples: keep each label, or replace it by one of the V − 1 others."""
        references = self.references
        inside = references.mask().unsqueeze(1)  # [batch, 1, time]
        labels = torch.where(inside, references.labels.unsqueeze(1), 0).repeat(1, k, 1)
        positions = _successes(self.change, labels.numel(), generator, labels.device)
        positions = positions[inside.expand_as(labels).reshape(-1)[positions]]
        # float64: with many labels, float32 is too coarse for the probability of rare ones
        other = torch.rand(positions.shape, generator=generator, device=labels.device, dtype=torch.float64)
        shift = 1 + (other * (self.num_labels - 1)).long().clamp_(max=max(self.num_labels - 2, 0))
        flat = labels.view(-1)
        changed = flat[positions] + shift
        flat[positions] = torch.where(changed >= self.num_labels, changed - self.num_labels, changed)
        return Sequences(labels, references.lengths.unsqueeze(1).repeat(1, k))

    def log_prob(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """−d/τ − m ln(1 + (V − 1)a), in nats; −inf for an output of another length."""
        width = max(outputs.labels.shape[-1], self.references.labels.shape[-1])
        given = pad(outputs.labels, (0, width - outputs.labels.shape[-1]))
        reference = pad(self.references.labels, (0, width - self.references.labels.shape[-1]))
        lengths = self.references.lengths.unsqueeze(1)
        inside = torch.arange(width, device=lengths.device) < lengths.unsqueeze(-1)
        edits = ((given != reference.unsqueeze(1)) & inside).sum(-1).double()
        log_prob = -edits * self.cost - lengths.double() * self.log_normaliser
        return torch.where(outputs.lengths == lengths, log_prob, -torch.inf)

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """1 − ε for the reference's label and ε / (V − 1) for each other; 0 beyond each length."""
        return self._marginals(torch.float64)

    def _marginals(self, dtype: torch.dtype) -> Float[Tensor, "batch time labels"]:
        share = self.change / max(self.num_labels - 1, 1)
        inside = self.references.mask()
        labels = torch.where(inside, self.references.labels, 0).unsqueeze(-1)
        shape = (*self.references.labels.shape, self.num_labels)
        table = torch.full(shape, share, dtype=dtype, device=labels.device)
        table.scatter_(-1, labels, math.exp(-self.log_normaliser))
        return table * inside.unsqueeze(-1)

    def local_log_prob(self) -> LocalScores:
        """−ln(1 + (V − 1)a) for the reference's label, and 1/τ less for each other."""
        shape = (*self.references.labels.shape, self.num_labels)
        table = torch.full(shape, -self.cost - self.log_normaliser, dtype=torch.float64, device=self.references.device)
        labels = torch.where(self.references.mask(), self.references.labels, 0).unsqueeze(-1)
        return LocalScores(table.scatter_(-1, labels, -self.log_normaliser), self.references.lengths)

    def entropy(self) -> Float[Tensor, " batch"]:
        """H(q) = m ln(1 + (V − 1)a) + E[d]/τ, in nats."""
        return self.references.lengths.double() * (self.log_normaliser + self.change * self.cost)

    def expected_score(self, scores: LocalScores) -> Float[Tensor, " batch"]:
        """Σ_t ⟨q_t, u_t⟩ + Σ_t q_tᵀ T q_t+1: positions are independent.

        Raises:
            ConfigError: lengths or labels differ from those of the references.
        """
        refuse_others(scores, self.references.lengths, self.num_labels)
        return expected_under(self._marginals(scores.unary.dtype), lambda: self.marginals() > 0, scores)

    def expected_edits(self) -> Float[Tensor, " batch"]:
        """E[d] = m·ε."""
        return self.references.lengths.double() * self.change

    def argmax(self) -> Sequences:
        """``[batch, time]``: the reference, which is more probable than any other string at every τ."""
        return self.references


def _successes(
    probability: float, trials: int, generator: torch.Generator | None, device: torch.device
) -> Int[Tensor, " successes"]:
    """The successes among many independent trials, by drawing the geometric gaps between successes.

    If successes are rare, this costs a fraction of one random number per trial.
    """
    if probability == 0 or trials == 0:
        return torch.zeros(0, dtype=torch.long, device=device)
    log_failure = math.log1p(-probability) if probability < 1 else -math.inf
    expected = trials * probability
    positions = torch.full((1,), -1, dtype=torch.long, device=device)
    while int(positions[-1]) < trials:
        count = int(expected + 6 * math.sqrt(expected)) + 8  # nearly always enough in one go
        uniform = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        gaps = (torch.log1p(-uniform) / log_failure).clamp_(max=float(trials)).long()
        positions = torch.cat([positions, positions[-1] + (gaps + 1).cumsum(0)])
    return positions[1:][positions[1:] < trials]


@payoffs.register("hamming")
@dataclass(frozen=True, kw_only=True)
class HammingPayoff(Payoff):
    """q(y|y*) ∝ exp(−Hamming(y, y*)/τ) over all strings of the reference's length (Norouzi et al. 2016)."""

    distribution_class: ClassVar[type] = HammingDistribution
    keeps_length: ClassVar[bool] = True

    @property
    def reward(self) -> Hamming:
        """r of the payoff's formula."""
        return Hamming()

    def literal(self, num_labels: int) -> float:
        """τ as in the formula: rescaled / (1 + ln(V − 1)), or 1 / ln((V − 1)(1 − ε)/ε) for an edit rate ε.

        Raises:
            ConfigError: no temperature gives the edit rate.
        """
        given = self.temperature
        if given.literal is not None:
            return given.literal
        if given.rescaled is not None:
            return given.rescaled / _stretch(num_labels)
        assert given.edit_rate is not None, "Temperature holds exactly one convention"
        highest = (num_labels - 1) / num_labels
        if given.edit_rate >= highest:
            raise ConfigError(
                f"edit_rate must be below (V − 1)/V = {highest:.6g} for Hamming over {num_labels} labels, "
                f"but got {given.edit_rate:g}; lower it"
                + ("" if num_labels > 1 else ", or give literal or rescaled: with one label there is nothing to edit")
            )
        return 1 / (math.log(num_labels - 1) + math.log1p(-given.edit_rate) - math.log(given.edit_rate))

    def rescaled(self, num_labels: int) -> float:
        """The published τ: literal · (1 + ln(V − 1))."""
        return self.literal(num_labels) * _stretch(num_labels)

    def edit_rate(self, num_labels: int) -> float:
        """ε: expected edits per symbol."""
        none = Sequences(torch.zeros(0, 0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
        return self.distribution(none, num_labels).change

    def distribution(self, targets: Sequences, num_labels: int) -> HammingDistribution:
        """q around each target ``[batch, time]``."""
        return HammingDistribution(targets, num_labels, self.literal(num_labels))


def _stretch(num_labels: int) -> float:
    """1 + ln(V − 1), from the number of possible edits; a single label has none, and any temperature is valid."""
    return 1 + math.log(max(num_labels - 1, 1))
