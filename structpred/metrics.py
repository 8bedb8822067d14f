"""Metrics: per-example counts first, one number second, and a signature that says how it was computed."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import rapidfuzz
from jaxtyping import Float
from rapidfuzz.distance import Levenshtein
from seqeval.scheme import IOB2, Tokens

from structpred.errors import DataError
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


@dataclass(frozen=True)
class Accuracy:
    """The share of positions with the right label, in percent; micro-averaged.

    An output of another length than its reference has as many positions as the longer of the two, and those that
    only one of them has are wrong. Of several references the one that gives the largest share counts.
    """

    name: ClassVar[str] = "ACC"
    higher_is_better: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return "ACC|positions:longer|refs:best|average:micro"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Right positions, and all of them."""
        return _best([_right_positions(prediction, reference) for reference in references])


@dataclass(frozen=True)
class ChunkF1:
    """F1 of chunks (noun phrases, names, …) written as IOB2 tags, in percent; micro-averaged over kinds.

    A predicted chunk is right if a reference chunk has its kind, its start and its end. Chunks are those that seqeval
    finds in its strict mode: each begins with B, and an I that continues nothing belongs to none. Then
    F1 = 2·right / (predicted + reference), a ratio of two sums, so that intervals and tests need no special case.
    Of several references the one with the best F1 counts.
    """

    name: ClassVar[str] = "F1"
    higher_is_better: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return f"F1|chunks:strict|scheme:IOB2|refs:best|average:micro|seqeval:{version('seqeval')}"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Twice the right chunks, and the chunks of prediction and reference together.

        Raises:
            DataError: a tag is not O, or B or I with a kind.
        """
        predicted = chunks(prediction)
        pairs = [(predicted, chunks(reference)) for reference in references]
        return _best([(2.0 * len(one & other), float(len(one) + len(other))) for one, other in pairs])


def chunks(tags: Symbols) -> set[tuple[str, int, int]]:
    """Kind, start and end (exclusive) of every chunk, by seqeval's strict reading of IOB2.

    >>> sorted(chunks(("B-NP", "I-NP", "O", "I-VP", "B-VP")))
    [('NP', 0, 2), ('VP', 4, 5)]

    Raises:
        DataError: a tag is not O, or B or I with a kind.
    """
    for tag in tags:
        if tag != "O" and tag[:2] not in ("B-", "I-"):
            raise DataError(f"chunks are read from the tags O, B-… and I-… (IOB2), but one is {tag!r}; convert them")
    return {(entity.tag, entity.start, entity.end) for entity in Tokens(list(tags), IOB2).entities}


def _right_positions(prediction: Symbols, reference: Symbols) -> tuple[float, float]:
    right = sum(one == other for one, other in zip(prediction, reference, strict=False))
    return float(right), float(max(len(prediction), len(reference)))


def _best(ratios: list[tuple[float, float]]) -> tuple[float, float]:
    """The largest ratio; nothing to count at all is as good as everything right. Of those that tie the first."""
    return max(ratios, key=lambda ratio: ratio[0] / ratio[1] if ratio[1] else 1.0)
