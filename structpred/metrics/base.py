"""Metrics: per-example counts first, one number second, and a signature that says how it was computed."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from structpred.vocabulary import Symbols

Counts = Float[np.ndarray, "examples 2"]


@runtime_checkable
class Metric(Protocol):
    """A ratio of two counts summed over examples, in percent.

    Attributes:
        name: short name, such as ``"PER"``.
        higher_is_better: which way is up.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool]

    @property
    @abstractmethod
    def signature(self) -> str:
        """Everything that could change the number."""

    @abstractmethod
    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Numerator and denominator of one example."""


def score(counts: Counts) -> float:
    """100 · Σ numerators / Σ denominators; 0 where there is nothing to count.

    >>> score(np.array([[1.0, 4.0], [0.0, 6.0]]))
    10.0
    """
    numerator, denominator = counts.sum(axis=0)
    return float(100 * numerator / denominator) if denominator else 0.0


def counts(metric: Metric, predictions: Sequence[Symbols], references: Sequence[tuple[Symbols, ...]]) -> Counts:
    """The counts of every example, ``[examples, 2]``; everything else (score, bootstrap, tests) starts here."""
    pairs = zip(predictions, references, strict=True)
    return np.array([metric.counts(prediction, right) for prediction, right in pairs], dtype=float).reshape(-1, 2)
