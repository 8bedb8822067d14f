"""Metrics: per-example counts first, one number second, and a signature that says how it was computed."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from structpred.vocabulary import Symbols

Counts = Float[np.ndarray, "examples statistics"]
Totals = Float[np.ndarray, " statistics"]


@runtime_checkable
class Metric(Protocol):
    """Statistics of each example, and a number made of their sums over examples.

    Whatever resamples examples or compares two models on the same ones needs the statistics and nothing else. Most
    metrics are one sum over another and inherit `score` from `Ratio`.

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
    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, ...]:
        """Statistics of one example, always as many; they may be added up."""

    @abstractmethod
    def score(self, totals: Totals) -> float:
        """The number, in percent, from the statistics summed over examples."""


class Ratio:
    """A metric of two statistics: 100 · Σ numerators / Σ denominators; 0 where there is nothing to count."""

    def score(self, totals: Totals) -> float:
        """The ratio, in percent."""
        numerator, denominator = totals
        return float(100 * numerator / denominator) if denominator else 0.0


def score(metric: Metric, counts: Counts) -> float:
    """The number that a metric makes of its counts.

    >>> from structpred.metrics import WordErrorRate
    >>> score(WordErrorRate(), np.array([[1.0, 1.0], [0.0, 1.0]]))
    50.0
    """
    return metric.score(counts.sum(axis=0))


def counts(metric: Metric, predictions: Sequence[Symbols], references: Sequence[tuple[Symbols, ...]]) -> Counts:
    """The statistics of every example, ``[examples, statistics]``; score, bootstrap and tests start here."""
    pairs = zip(predictions, references, strict=True)
    rows = [metric.counts(prediction, right) for prediction, right in pairs]
    return np.array(rows, dtype=float) if rows else np.zeros((0, len(metric.counts((), ((),)))))
