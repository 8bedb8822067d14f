"""Base measures: the μ of q(y|y*) ∝ μ(y|y*) exp(r(y, y*)/τ), and proposals for sampling from it."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.config import Config
from structpred.distributions.protocols import Sample
from structpred.errors import ConfigError
from structpred.payoffs.base import Payoff, Temperature
from structpred.payoffs.hamming import HammingPayoff
from structpred.registry import base_measures
from structpred.returned import check_lengths, checked, described, refuse
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Count

Substitutes = Literal["all", "batch", "unigram"]
"""The distribution of substitutes: uniform over all labels; uniform over the labels that occur in the batch of up to
4,096 references; or by their frequency in that batch."""


@dataclass(frozen=True)
class Proposals:
    """Samples from a proposal g, with the ratio that corrects them to μ.

    Attributes:
        outputs: ``[batch, candidates, time]``.
        log_ratio: ln μ(y|y*) − ln g(y|y*), up to a constant per example, ``[batch, candidates]``, in nats.
    """

    # Users make these, and `proposals_of` reports mistakes as messages, so run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    outputs: Sequences
    log_ratio: Float[Tensor, "batch candidates"]


@dataclass(frozen=True, kw_only=True)
class BaseMeasure(Config):
    """A measure μ(y|y*) around a reference, which a payoff multiplies by exp(r/τ).

    A class of your own needs `keeps_length`, `propose` and a name (``@base_measures.register("mine")``).

    Without a base measure there would be nothing to learn: BLEU is bounded and the number of strings is not, so
    exp(BLEU/τ) over all strings has almost no mass near the reference.
    """

    family = base_measures

    @property
    @abstractmethod
    def keeps_length(self) -> bool:
        """True if every output with positive mass is as long as its reference."""

    @abstractmethod
    def propose(self, references: Sequences, num_labels: int, k: int, generator: torch.Generator | None) -> Proposals:
        """``k`` independent samples around each reference, with the ratio of μ to the proposal.

        Args:
            references: y*, ``[batch, time]``.
            num_labels: V.
            k: samples per reference.
            generator: source of randomness.
        """

    def prepare(self, sizes: Sizes) -> None:
        """Read and check everything needed before training."""


def proposals_of(
    base: BaseMeasure, references: Sequences, num_labels: int, k: int, generator: torch.Generator | None
) -> Proposals:
    """`BaseMeasure.propose`, checked.

    Raises:
        ConfigError: the result is not `Proposals` with ``k`` outputs per reference, over valid labels, as long as the
            reference if ``keeps_length``, and with finite ratios.
    """
    what = f"{type(base).__name__}.propose"
    found: object = base.propose(references, num_labels, k, generator)
    if not isinstance(found, Proposals):
        refuse(what, "Proposals", described(found), "return Proposals(outputs, log_ratio)")
    outputs, wanted = found.outputs, (len(references), k)
    if not isinstance(outputs, Sequences) or tuple(outputs.lengths.shape) != wanted:
        shape = tuple(outputs.lengths.shape) if isinstance(outputs, Sequences) else described(outputs)
        refuse(f"{what}, outputs,", f"Sequences of {wanted} outputs", f"{shape}", "return k outputs for each reference")
    what_ratio = f"{what}, log_ratio,"
    checked(found.log_ratio, wanted, what=what_ratio, axes="[batch, candidates]", like=references.device)
    if outputs.device.type == "cpu":  # a device would have to synchronise
        check_lengths(outputs.lengths, outputs.labels.shape[-1], what)
        real = outputs.labels[outputs.mask()]
        if len(real) and not 0 <= int(real.min()) <= int(real.max()) < num_labels:
            refuse(
                f"{what}, outputs,", f"labels from 0 to {num_labels - 1}", f"{int(real.max())}", "propose only these"
            )
        if base.keeps_length and not (outputs.lengths == references.lengths.unsqueeze(1)).all():
            advice = "return outputs of their reference's length, or False from keeps_length"
            refuse(f"{what}, outputs,", "outputs as long as their references", "others", advice)
    return found


@base_measures.register("payoff")
@dataclass(frozen=True, kw_only=True)
class AroundPayoff(BaseMeasure):
    """μ is a payoff distribution that can be sampled exactly, such as `HammingPayoff` or `EditDistancePayoff`.

    Attributes:
        payoff: μ, with a temperature of its own.
    """

    payoff: Payoff = HammingPayoff(temperature=Temperature(edit_rate=0.1))

    def check(self) -> None:
        """Refuse a payoff that has no unweighted samples."""
        if not issubclass(self.payoff.distribution_class, Sample):
            name = type(self.payoff).__name__
            raise ConfigError(
                f"AroundPayoff needs a payoff that can be sampled from, but {name} cannot; use HammingPayoff"
            )

    @property
    def keeps_length(self) -> bool:
        """The payoff's."""
        return self.payoff.keeps_length

    def propose(self, references: Sequences, num_labels: int, k: int, generator: torch.Generator | None) -> Proposals:
        """Samples of the payoff."""
        outputs = self.payoff.distribution(references, num_labels).sample(k, generator)
        return Proposals(outputs, torch.zeros(outputs.lengths.shape, dtype=torch.float64, device=outputs.device))


@base_measures.register("substitution")
@dataclass(frozen=True, kw_only=True)
class Substitution(BaseMeasure):
    """μ is the Hamming payoff over the labels that can be drawn, independent of the probability of a substitute.

    The proposal changes each position with the payoff's probability and draws a substitute v with probability
    s(v)/(1 − s(y*_t)), which is divided out.

    Attributes:
        temperature: of the Hamming payoff, in any of its conventions.
        substitutes: s: uniform over ``"all"`` labels or over the ``"batch"``'s, or ``"unigram"`` frequencies.
    """

    temperature: Temperature = Temperature(edit_rate=0.1)
    substitutes: Substitutes = "unigram"

    @property
    def keeps_length(self) -> bool:
        """True."""
        return True

    def propose(self, references: Sequences, num_labels: int, k: int, generator: torch.Generator | None) -> Proposals:
        """Samples with the payoff's distribution of edits, and the weights of their substitutes."""
        counts = substitute_counts(references, num_labels, self.substitutes)
        own = torch.where(references.mask(), references.labels, 0).unsqueeze(1).expand(-1, k, -1)
        others = counts.sum() - counts[own]  # total weight of all labels except the reference's
        change = HammingPayoff(temperature=self.temperature).distribution(references, num_labels).change
        uniform = torch.rand(own.shape, generator=generator, device=own.device, dtype=torch.float64)
        changed = (uniform < change) & references.mask().unsqueeze(1) & (others > 0)
        new = torch.where(changed, draw_other(counts, own, generator), own)
        probability = counts[new].clamp(min=1).double() / others.clamp(min=1)  # where the payoff has 1/(V − 1)
        ratio = -math.log(max(num_labels - 1, 1)) - probability.log()
        outputs = Sequences(new, references.lengths.unsqueeze(1).repeat(1, k))
        return Proposals(outputs, torch.where(changed, ratio, 0.0).sum(-1))


def substitute_counts(references: Sequences, num_labels: int, substitutes: Substitutes) -> Int[Tensor, " labels"]:
    """The relative frequency of each label as a substitute."""
    if substitutes == "all":
        return torch.ones(num_labels, dtype=torch.long, device=references.device)
    counts = torch.bincount(references.labels[references.mask()], minlength=num_labels)
    return (counts > 0).long() if substitutes == "batch" else counts


def draw_other(
    counts: Int[Tensor, " labels"], own: Int[Tensor, "batch candidates time"], generator: torch.Generator | None
) -> Int[Tensor, "batch candidates time"]:
    """At each position, a label other than the given one, in proportion to the counts; arbitrary if there is none."""
    cumulative = counts.cumsum(0)
    total = int(cumulative[-1]) if len(counts) else 0
    others = total - counts[own]
    uniform = torch.rand(own.shape, generator=generator, device=own.device, dtype=torch.float64)
    place = (uniform * others).long().minimum((others - 1).clamp(min=0))  # rounding may exceed the end
    place += torch.where(place >= cumulative[own] - counts[own], counts[own], 0)  # skips the given label's interval
    return torch.searchsorted(cumulative, place, right=True).clamp(max=max(len(counts) - 1, 0))


@base_measures.register("n-gram-replacement")
@dataclass(frozen=True, kw_only=True)
class NGramReplacement(BaseMeasure):
    """μ is supported on outputs that differ from the reference within a span of at most ``longest`` symbols.

    The proposal draws n uniformly from 1 to the smaller of ``longest`` and m, one of the m − n + 1 spans of n symbols
    uniformly, and n independent symbols with probabilities s, which may equal the originals. Several spans can lead to
    the same output, so with N = min(longest, m) the density of a sample is

        g(y|y*) = Σ_{n=1..N} 1/N Σ_i 1/(m − n + 1) [y equals y* outside the span i..i+n−1] Π_{t in the span} s(y_t).

    Code published after RML (Norouzi et al. 2016) samples in this way for BLEU, but weights the samples as if their
    density were uniform.

    Attributes:
        longest: the longest span.
        substitutes: s: uniform over ``"all"`` labels or over the ``"batch"``'s, or ``"unigram"`` frequencies.
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

    def propose(self, references: Sequences, num_labels: int, k: int, generator: torch.Generator | None) -> Proposals:
        """Samples of g, with −ln g as their ratio, or 0."""
        counts = substitute_counts(references, num_labels, self.substitutes)
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
    before = torch.nn.functional.pad(along.cumsum(-1), (1, 0))  # ln Π of s over the symbols before each position
    positions = torch.arange(time, device=outputs.device)
    first = torch.where(changed, positions, time).amin(-1, keepdim=True) if time else lengths.unsqueeze(-1)
    last = torch.where(changed, positions, -1).amax(-1, keepdim=True) if time else lengths.unsqueeze(-1) - 1
    terms = [torch.where(lengths > 0, -torch.inf, 0.0).double()]  # an empty output has no span and has probability 1
    for n in range(1, min(longest, time) + 1):
        start = positions[: time - n + 1]
        covers = (start <= first) & (start + n > last) & (start + n <= lengths.unsqueeze(-1))
        product = (before[..., n:] - before[..., : time - n + 1]).masked_fill(~covers, -torch.inf).logsumexp(-1)
        terms.append(product - (lengths - n + 1).clamp(min=1).double().log())
    choices = lengths.clamp(min=1, max=longest).double().log()
    return torch.stack(terms).logsumexp(0) - choices


def _whole(below: Tensor, generator: torch.Generator | None) -> Tensor:
    """A uniform integer from 0 to ``below`` − 1; 0 if there is none."""
    uniform = torch.rand(below.shape, generator=generator, device=below.device, dtype=torch.float64)
    return (uniform * below).long().minimum((below - 1).clamp(min=0))
