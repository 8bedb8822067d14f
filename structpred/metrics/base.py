"""Metrics: per-example counts first, one number second, and a signature that says how it was computed."""

import math
import numbers
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from structpred.blame import blaming
from structpred.config import Config, decode
from structpred.foreign import modules_of
from structpred.protocols import Checkable
from structpred.registry import metrics
from structpred.returned import described, refuse
from structpred.vocabulary import Symbols

Counts = Float[np.ndarray, "examples statistics"]
Totals = Float[np.ndarray, " statistics"]


@dataclass(frozen=True, kw_only=True)
class Metric(Config):
    """Statistics of each example, and a number made of their sums over examples.

    Whatever resamples examples or compares two models on the same ones needs the statistics and nothing else. A class
    of your own needs `name`, `higher_is_better`, `signature`, `counts` and `score`, and a name to be chosen by
    (``@metrics.register("mine")``); one that is a sum over another inherits `score` from `Ratio`.

    Attributes:
        name: short name for tables, such as ``"PER"``.
        higher_is_better: which way is up.
        former: names under which earlier versions stored it; what is stored under them is still read.
    """

    family = metrics
    name: ClassVar[str]
    former: ClassVar[tuple[str, ...]] = ()
    higher_is_better: ClassVar[bool]

    @classmethod
    def accept(cls, value: object) -> object:
        """A text is the name that a metric without settings is registered under."""
        return decode(value, cls, f"the metric {value!r}") if isinstance(value, str) else value

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


@runtime_checkable
class OfUnknown(Checkable, Protocol):
    """A metric that counts only positions whose word is new; it receives which they are."""

    @abstractmethod
    def counts_of(
        self, prediction: Symbols, references: tuple[Symbols, ...], unknown: tuple[bool, ...]
    ) -> tuple[float, ...]:
        """Statistics of one example, always as many.

        Args:
            prediction: the output.
            references: the right ones.
            unknown: whether the word of each position is new; empty where the task does not say.
        """


@dataclass(frozen=True, kw_only=True)
class Ratio(Metric):
    """A metric of two statistics: 100 · Σ numerators / Σ denominators.

    Where the denominators sum to 0 the errors, if there are any, count as though there were one thing to get right,
    as in jiwer: two symbols for references that are all empty are an error rate of 200 %. Where there are none either,
    nothing was to be done and nothing was done wrong.

    Attributes:
        of_nothing: the number for that last case.
    """

    of_nothing: ClassVar[float] = 0.0

    def score(self, totals: Totals) -> float:
        """The ratio, in percent.

        Raises:
            ConfigError: `counts` returns other than two numbers.
        """
        if len(totals) != 2:
            way_out = "write a method score for others"
            refuse(f"{type(self).__name__}.counts", "a numerator and a denominator", f"{len(totals)} numbers", way_out)
        numerator, denominator = totals
        if not (numerator or denominator):
            return self.of_nothing
        return float(100 * numerator / max(denominator, 1))


def score(metric: Metric, counts: Counts) -> float:
    """The number that a metric makes of its counts.

    Examples:
        >>> from structpred.metrics import WordErrorRate
        >>> score(WordErrorRate(), np.array([[1.0, 1.0], [0.0, 1.0]]))
        50.0

    Raises:
        ConfigError: it makes no finite number of them.
    """
    with blaming(modules_of([type(metric)])):
        found: object = metric.score(counts.sum(axis=0))
    if not isinstance(found, numbers.Real) or not math.isfinite(found):
        refuse(
            f"{type(metric).__name__}.score",
            "a finite number",
            described(found),
            "say what it is where there is nothing to count",
        )
    return float(found)


def counts(
    metric: Metric,
    predictions: Sequence[Symbols],
    references: Sequence[tuple[Symbols, ...]],
    unknown: Sequence[tuple[bool, ...]] | None = None,
) -> Counts:
    """The statistics of every example, ``[examples, statistics]``; score, bootstrap and tests start here.

    Args:
        metric: what to count for.
        predictions: one output an example.
        references: the right outputs of each.
        unknown: for each example which positions have words that are new, for metrics that ask (`OfUnknown`).

    Raises:
        ConfigError: the metric does not count the same number of finite statistics for every example.
    """
    with blaming(modules_of([type(metric)])):
        if isinstance(metric, OfUnknown):
            marked = zip(predictions, references, unknown or [()] * len(predictions), strict=True)
            rows = [metric.counts_of(*each) for each in marked]
        else:
            rows = [metric.counts(*each) for each in zip(predictions, references, strict=True)]
        return _array(metric, rows) if rows else np.zeros((0, len(metric.counts((), ((),)))))


def _array(metric: Metric, rows: Sequence[object]) -> Counts:
    """The rows as an array; the first that is to blame is named where they make none."""
    try:
        found = np.array(rows)
    except ValueError:  # of different lengths
        found = np.array(None)
    if found.ndim != 2 or found.dtype.kind not in "bifu" or not np.isfinite(found).all():
        number, row = next((i, row) for i, row in enumerate(rows) if not _counted(row, rows[0]))
        expected = "a tuple of finite numbers, as many for every example"
        found_here = f"{described(row)} for example {number + 1}"
        refuse(f"{type(metric).__name__}.counts", expected, found_here, "return 0 where there is nothing to count")
    return found.astype(float)


def _counted(row: object, first: object) -> bool:
    if not isinstance(row, tuple | list | np.ndarray):
        return False
    numeric = all(isinstance(each, numbers.Real) and math.isfinite(each) for each in row)
    return numeric and isinstance(first, tuple | list | np.ndarray) and len(row) == len(first)
