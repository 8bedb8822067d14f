"""The verbs of a distribution over label sequences, each its own small protocol.

A distribution offers the verbs it can compute and no others; an objective names the verbs it needs. All of them
work on a batch: ``outputs`` are ``[batch, candidates, time]``, and every log-probability is in nats.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.sequences import Sequences


@runtime_checkable
class Distribution(Protocol):
    """What every distribution says of itself.

    Attributes:
        labels: V, the number of labels.
        fixed_length: True where the input decides the length of the output, as for a tagger.
    """

    labels: int
    fixed_length: ClassVar[bool]


@runtime_checkable
class LogProb(Protocol):
    """``log_prob``: the normalised log-probability of whole outputs."""

    def log_prob(self, outputs: Sequences) -> Float[Tensor, "batch candidates"]:
        """log p(y|x) of each candidate, in nats."""


@runtime_checkable
class Sample(Protocol):
    """``sample``: independent exact draws."""

    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        """``[batch, k, time]`` draws, without gradient."""


@dataclass(frozen=True)
class Steps:
    """The distribution of every next symbol along given outputs.

    Attributes:
        log_probs: ``[batch, candidates, steps, symbols]``; where length is free, the last of the V + 1 symbols is
            the end of the sequence.
        targets: the symbol that the output has at each step, ``[batch, candidates, steps]``.
        mask: True at steps that count.
    """

    log_probs: Float[Tensor, "batch candidates steps symbols"]
    targets: Int[Tensor, "batch candidates steps"]
    mask: Bool[Tensor, "batch candidates steps"]


@runtime_checkable
class StepScores(Protocol):
    """``steps``: the probabilities of every possible next symbol, given the output's own history."""

    def steps(self, outputs: Sequences) -> Steps:
        """Next-symbol log-probabilities along each candidate."""


@runtime_checkable
class Marginals(Protocol):
    """``marginals``: the probability of every label at every position."""

    def marginals(self) -> Float[Tensor, "batch time labels"]:
        """p(y_t = v | x)."""


@runtime_checkable
class CrossEntropy(Protocol):
    """``cross_entropy_from``: the exact expectation of −log p under another distribution."""

    def cross_entropy_from(self, q: Marginals) -> Float[Tensor, " batch"]:
        """−Σ_y q(y) log p(y), in nats; use `cross_entropy`."""


def cross_entropy(q: Marginals, p: CrossEntropy) -> Float[Tensor, " batch"]:
    """H(q, p) = −Σ_y q(y) log p(y) in closed form, one number per example, in nats."""
    return p.cross_entropy_from(q)


@dataclass(frozen=True)
class Ranked:
    """Outputs in order, the best first.

    Attributes:
        outputs: ``[batch, candidates, time]``.
        log_probs: their log-probabilities, ``[batch, candidates]``; −inf where there were fewer outputs.
    """

    outputs: Sequences
    log_probs: Float[Tensor, "batch candidates"]


@runtime_checkable
class NBest(Protocol):
    """``n_best``: the most probable outputs the search can find."""

    def n_best(self, k: int) -> Ranked:
        """The ``k`` best, in order."""
