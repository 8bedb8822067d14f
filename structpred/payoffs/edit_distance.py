"""The edit-distance payoff, sampled exactly."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.errors import ConfigError
from structpred.payoffs import automaton, by_length
from structpred.payoffs.base import Payoff
from structpred.payoffs.lattice import acceptance
from structpred.payoffs.rejection import FEW, HOPELESS, Drawing, joined, reject
from structpred.payoffs.transducer import EditWeights, completions, grouped, propose
from structpred.registry import payoffs
from structpred.rewards.base import scores_of
from structpred.rewards.edit_distance import EditDistance
from structpred.sequences import Sequences

SYMBOLS = 2**21
"""Maximum number of symbols in all simultaneous proposals, which bounds memory however long they grow."""

MARGIN = 0.05
"""The minimum difference in the logarithm of a total weight, so that rounding does not decide."""

LONGEST = 20_000
"""Expected inserted symbols in one draw beyond which the temperature is certainly a mistake."""


@dataclass(frozen=True)
class EditDistanceDistribution:
    """q(y) ∝ exp(−d(y, y*)/τ) over all strings. It can be sampled from; its normaliser has no closed form.

    Attributes:
        references: y*, ``[batch, time]``.
        num_labels: V.
        temperature: τ, literal.
    """

    fixed_length: ClassVar[bool] = False

    references: Sequences
    num_labels: int
    temperature: float

    def score(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """−d(y, y*)/τ, which is log q(y) plus the logarithm of the normaliser."""
        return scores_of(EditDistance(), outputs, self.references).double() / self.temperature

    @torch.no_grad()
    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` exact, independent samples.

        Proposals of the canonical edit transducer are accepted with probability a^d / F until every draw is there, or
        near the temperature's limit the proposals of `structpred.payoffs.by_length`: around each reference the kind
        that is accepted more often, as their total weights say.

        Raises:
            ConfigError: too few proposals are accepted, or they are far too long.
        """
        references, rows = self.references, torch.arange(len(self.references), device=self.references.device)
        weights = EditWeights(self.num_labels, self.temperature)
        ahead = completions(references, weights)
        near_the_limit = by_length.log_weight(references.lengths, weights) < ahead.log_weight - MARGIN
        rows, longest = rows.repeat_interleave(k), int(references.lengths.max()) if len(references) else 0
        inserted = (1 if bool(near_the_limit.all()) else longest + 1) * weights.insertions
        if inserted > LONGEST:
            raise ConfigError(
                f"at a literal temperature of {self.temperature:g} over {self.num_labels} labels, draws for a reference"
                f" of length {longest} would insert about {inserted:.0f} symbols on average; lower the temperature"
            )

        def by_paths(rows: Int[Tensor, " draws"]) -> tuple[Sequences, Tensor]:
            proposals = propose(references, weights, ahead, rows, generator)
            uniform = torch.rand(len(rows), generator=generator, device=rows.device, dtype=torch.float64)
            return proposals, uniform < acceptance(proposals, references.select(rows), weights)

        def by_lengths(rows: Int[Tensor, " draws"]) -> tuple[Sequences, Tensor]:
            proposals = by_length.propose(references, weights, rows, generator)
            uniform = torch.rand(len(rows), generator=generator, device=rows.device, dtype=torch.float64)
            return proposals, uniform < by_length.acceptance(proposals, references.select(rows), weights)

        block = max(1, SYMBOLS // (longest + 1 + math.ceil(inserted)))
        parts = []
        for attempt, chosen in ((by_paths, ~near_the_limit), (by_lengths, near_the_limit)):
            places = chosen[rows].nonzero().squeeze(1)
            drawing = Drawing(attempt, references.lengths, self.temperature, self._workable)
            parts.append((places, reject(drawing, rows[places], block)))
        return grouped(joined(parts, len(rows), rows.device), len(references), k)

    def _workable(self, row: int) -> float:
        """A literal temperature, found by bisection, with twice the required acceptance rate."""
        low, high = self.temperature / 16, self.temperature
        for _ in range(8):
            middle = (low + high) / 2
            low, high = (middle, high) if self._accepted(row, middle) > 2 * HOPELESS else (low, middle)
        return low

    def _accepted(self, row: int, temperature: float) -> float:
        """The acceptance rate of proposals around one reference, estimated from a sample."""
        weights = EditWeights(self.num_labels, temperature)
        one = self.references.select(torch.tensor([row], device=self.references.device))
        rows = torch.zeros(FEW, dtype=torch.long, device=one.device)
        source, same = torch.Generator(one.device).manual_seed(0), one.select(rows)
        paths = acceptance(propose(one, weights, completions(one, weights), rows, source), same, weights)
        lengths = by_length.acceptance(by_length.propose(one, weights, rows, source), same, weights)
        return max(float(paths.mean()), float(lengths.mean()))


@payoffs.register("edit-distance")
@dataclass(frozen=True, kw_only=True)
class EditDistancePayoff(Payoff):
    """q(y|y*) ∝ exp(−Levenshtein(y, y*)/τ) over all strings of all lengths, without approximation.

    It exists only if V·exp(−1/τ) < 1; at higher temperatures the total weight of long strings diverges. A rescaled
    temperature must therefore be below 1 + 1/ln V. The sampler published with RML (Norouzi et al. 2016) never deletes
    and counts some strings several times; it is `PublishedEditDistancePayoff`.
    """

    distribution_class: ClassVar[type] = EditDistanceDistribution
    keeps_length: ClassVar[bool] = False

    @property
    def reward(self) -> EditDistance:
        """r of the payoff's formula."""
        return EditDistance()

    def literal(self, num_labels: int) -> float:
        """τ as in the formula: rescaled / (1 + ln V), or the τ that gives the requested edit rate.

        Raises:
            ConfigError: the payoff does not exist at this temperature.
        """
        given = self.temperature
        if given.edit_rate is not None:
            return automaton.temperature_of(given.edit_rate, num_labels)
        literal = given.literal if given.literal is not None else _rescaled(given.rescaled, num_labels)
        if num_labels > 1 and literal >= 1 / math.log(num_labels):
            name, factor = ("literal", 1.0) if given.literal is not None else ("rescaled", 1 + math.log(num_labels))
            raise ConfigError(
                f"the edit-distance payoff over {num_labels} labels exists only for a {name} temperature below "
                f"{factor / math.log(num_labels):.6g}, but got {literal * factor:g}; lower it"
            )
        return literal

    def rescaled(self, num_labels: int) -> float:
        """The published τ: literal · (1 + ln V)."""
        return self.literal(num_labels) * (1 + math.log(num_labels))

    def edit_rate(self, num_labels: int) -> float:
        """Expected edits per symbol of a long reference without repeats."""
        if self.temperature.edit_rate is not None:
            return self.temperature.edit_rate
        return automaton.edit_rate(num_labels, EditWeights(num_labels, self.literal(num_labels)).log_edit)

    def distribution(self, targets: Sequences, num_labels: int) -> EditDistanceDistribution:
        """q around each target ``[batch, time]``."""
        return EditDistanceDistribution(targets, num_labels, self.literal(num_labels))


def _rescaled(temperature: float | None, num_labels: int) -> float:
    assert temperature is not None, "Temperature holds exactly one convention"
    return temperature / (1 + math.log(num_labels))
