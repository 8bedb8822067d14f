"""Metrics that count wrong symbols or wrong outputs: PER, SER and WER."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import rapidfuzz
from rapidfuzz.distance import Levenshtein

from structpred.metrics.base import Ratio
from structpred.registry import metrics
from structpred.vocabulary import Symbols


def closest(prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[int, int]:
    """Edits to, and length of, the reference with the fewest edits; the longest of those that tie."""
    found = ((Levenshtein.distance(prediction, reference), len(reference)) for reference in references)
    return min(found, key=lambda pair: (pair[0], -pair[1]))


@metrics.register("per")
@dataclass(frozen=True, kw_only=True)
class SymbolErrorRate(Ratio):
    """The phone error rate: edits per reference symbol, in percent, against the closest reference; micro-averaged.

    Where symbols are not phones the same number is called `SER`. The denominator is the length of the closest
    reference; if all of them are empty it is 1, so that a wrong output is never perfect (as in jiwer).
    """

    name: ClassVar[str] = "PER"
    higher_is_better: ClassVar[bool] = False

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return f"{self.name}|edits:levenshtein|refs:closest|average:micro|rapidfuzz:{rapidfuzz.__version__}"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Edits to the closest reference, and its length."""
        edits, length = closest(prediction, references)
        return float(edits), float(length)


@metrics.register("ser")
@dataclass(frozen=True, kw_only=True)
class SER(SymbolErrorRate):
    """The symbol error rate of tasks whose symbols are not phones; computed as PER, the name it was stored under."""

    name: ClassVar[str] = "SER"
    former: ClassVar[tuple[str, ...]] = ("PER",)


@metrics.register("wer")
@dataclass(frozen=True, kw_only=True)
class WordErrorRate(Ratio):
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


@metrics.register("sigmorphon-per")
@dataclass(frozen=True, kw_only=True)
class SigmorphonErrorRate(Ratio):
    """PER as the evaluation script of SIGMORPHON 2020, task 1, computes it; use it beside that task's table only.

    The script's table of edits says 1 instead of 0, 1, 2, … along its two edges, so that it counts too few insertions
    and deletions at the beginning of a word: *abcd* for *d* is one edit, not three. It never exceeds
    `SymbolErrorRate`. Of several references, which the script does not have, the closest counts.
    """

    name: ClassVar[str] = "SIGMORPHON-PER"
    higher_is_better: ClassVar[bool] = False

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return "SIGMORPHON-PER|edits:sigmorphon2020-evallib|refs:closest|average:micro"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """The script's edits to the closest reference, and its length."""
        found = ((_script_edits(reference, prediction), len(reference)) for reference in references)
        edits, length = min(found, key=lambda pair: (pair[0], -pair[1]))
        return float(edits), float(length)


def _script_edits(gold: Symbols, hypothesis: Symbols) -> int:
    """``edit_distance`` of task1/evaluation/evallib.py, one row of its table after the other.

    Its cells hold eight bits, so that 256 edits would read as none.
    """
    row = np.ones(len(hypothesis) + 1, dtype=np.int64)
    row[0] = 0
    for symbol in gold:
        above, row = row, np.empty_like(row)
        row[0] = 1
        for j, other in enumerate(hypothesis, start=1):
            row[j] = above[j - 1] if symbol == other else min(above[j], row[j - 1], above[j - 1]) + 1
    return int(row[-1]) % 256
