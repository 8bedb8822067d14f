"""Metrics that count wrong symbols or wrong outputs: PER and WER of the pronunciation literature."""

from dataclasses import dataclass
from typing import ClassVar

import rapidfuzz
from rapidfuzz.distance import Levenshtein

from structpred.vocabulary import Symbols


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
