"""Metrics: per-example counts first, one number second, and a signature that says how it was computed."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import rapidfuzz
from jaxtyping import Float
from rapidfuzz.distance import Levenshtein

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


def closest(prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[int, int]:
    """Edits to, and length of, the reference with the fewest edits; the longest of those that tie."""
    found = ((Levenshtein.distance(prediction, reference), len(reference)) for reference in references)
    return min(found, key=lambda pair: (pair[0], -pair[1]))


@dataclass(frozen=True)
class SymbolErrorRate:
    """Edits per reference symbol, in percent, against the closest reference; micro-averaged.

    For phones this is the phone error rate (PER). The denominator is the length of the closest reference.
    """

    name: ClassVar[str] = "PER"
    higher_is_better: ClassVar[bool] = False

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return f"PER|edits:levenshtein|refs:closest|average:micro|rapidfuzz:{rapidfuzz.__version__}"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Edits to the closest reference, and its length."""
        edits, length = closest(prediction, references)
        return float(edits), float(length)


@dataclass(frozen=True)
class WordErrorRate:
    """The share of outputs that equal none of their references, in percent (WER of the pronunciation literature)."""

    name: ClassVar[str] = "WER"
    higher_is_better: ClassVar[bool] = False

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return "WER|match:exact|refs:any"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """1 or 0, and 1."""
        return float(prediction not in references), 1.0
