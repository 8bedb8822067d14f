"""Metrics of taggers: the share of right tags, and F1 of the chunks that tags spell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

from seqeval.scheme import IOB2, Tokens

from structpred.errors import DataError
from structpred.metrics.base import Ratio
from structpred.registry import metrics
from structpred.vocabulary import Symbols


@metrics.register("acc")
@dataclass(frozen=True, kw_only=True)
class Accuracy(Ratio):
    """The share of positions with the right label, in percent; micro-averaged.

    An output of another length than its reference has as many positions as the longer of the two, and those that
    only one of them has are wrong. Of several references the one that gives the largest share counts. No positions at
    all are all right: 100.
    """

    name: ClassVar[str] = "ACC"
    higher_is_better: ClassVar[bool] = True
    of_nothing: ClassVar[float] = 100.0

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return "ACC|positions:longer|refs:best|average:micro"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Right positions, and all of them."""
        return _best([_right_positions(prediction, reference) for reference in references])


@metrics.register("oov-acc")
@dataclass(frozen=True, kw_only=True)
class UnknownAccuracy(Ratio):
    """Accuracy on the positions whose word does not occur in the training data, in percent; micro-averaged.

    The task says which they are (`structpred.tasks.reading.with_unknown`); words are compared as they are written,
    capitals included. Of several references the one that gives the largest share counts. Where no word is new, or the
    task does not say which are, nothing was shown: 0.
    """

    name: ClassVar[str] = "OOV-ACC"
    higher_is_better: ClassVar[bool] = True

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return "OOV-ACC|positions:unknown|case:mixed|refs:best|average:micro"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Nothing: it is not known which words are new."""
        return self.counts_of(prediction, references, ())

    def counts_of(
        self, prediction: Symbols, references: tuple[Symbols, ...], unknown: tuple[bool, ...]
    ) -> tuple[float, float]:
        """Right positions with a new word, and all of them."""
        positions = [i for i, new in enumerate(unknown) if new]
        return _best([_right_at(positions, prediction, reference) for reference in references])


@metrics.register("f1")
@dataclass(frozen=True, kw_only=True)
class ChunkF1(Ratio):
    """F1 of chunks (noun phrases, names, …) written as IOB2 tags, in percent; micro-averaged over kinds.

    A predicted chunk is right if a reference chunk has its kind, its start and its end. Chunks are those that seqeval
    finds in its strict mode: each begins with B, and an I that continues nothing belongs to none. Then
    F1 = 2·right / (predicted + reference), a ratio of two sums, so that intervals and tests need no special case.
    Of several references the one with the best F1 counts. Where there is nothing to find and nothing was found, all is
    right: 100 (seqeval and conlleval, which have no number for 0/0, print 0).

    Published figures mostly come from conlleval, which reads ill-formed tags in another way: `ConllevalF1`.
    """

    name: ClassVar[str] = "F1"
    higher_is_better: ClassVar[bool] = True
    of_nothing: ClassVar[float] = 100.0

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return f"F1|chunks:strict|scheme:IOB2|refs:best|average:micro|seqeval:{version('seqeval')}"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Twice the right chunks, and the chunks of prediction and reference together.

        Raises:
            DataError: a tag is not O, or B or I with a kind.
        """
        return _best_f1(chunks, prediction, references)


@metrics.register("conlleval-f1")
@dataclass(frozen=True, kw_only=True)
class ConllevalF1(Ratio):
    """F1 of chunks as conlleval computes it, the script of the CoNLL shared tasks of 2000 to 2003, in percent.

    It differs from `ChunkF1` in tags that are ill-formed, as a tagger may give them: an I that continues nothing begins
    a chunk. For IOB2 without such tags the two are equal. Tags may be in IOB1, IOB2 or IOBES; one file, one scheme.
    Of several references the one with the best F1 counts. Where there is nothing to find and nothing was found, all is
    right: 100 (conlleval prints 0).
    """

    name: ClassVar[str] = "CONLLEVAL-F1"
    higher_is_better: ClassVar[bool] = True
    of_nothing: ClassVar[float] = 100.0

    @property
    def signature(self) -> str:
        """Everything that could change the number."""
        return "CONLLEVAL-F1|chunks:conlleval|schemes:IOB1,IOB2,IOBES|refs:best|average:micro"

    def counts(self, prediction: Symbols, references: tuple[Symbols, ...]) -> tuple[float, float]:
        """Twice the right chunks, and the chunks of prediction and reference together.

        Raises:
            DataError: a tag is not O, or B, I, E or S with a kind.
        """
        return _best_f1(conlleval_chunks, prediction, references)


def chunks(tags: Symbols) -> set[tuple[str, int, int]]:
    """Kind, start and end (exclusive) of every chunk, by seqeval's strict reading of IOB2.

    Examples:
        >>> sorted(chunks(("B-NP", "I-NP", "O", "I-VP", "B-VP")))
        [('NP', 0, 2), ('VP', 4, 5)]

    Raises:
        DataError: a tag is not O, or B or I with a kind, which neither begins nor ends with a hyphen.
    """
    for tag in tags:
        if tag != "O" and tag[:2] not in ("B-", "I-"):
            raise DataError(f"chunks are read from the tags O, B-… and I-… (IOB2), but one is {tag!r}; convert them")
        if tag[2:].strip("-") != tag[2:]:
            raise DataError(
                f"the kind of a chunk may not begin or end with -, which seqeval drops, but a tag is {tag!r}"
            )
    return {(entity.tag, entity.start, entity.end) for entity in Tokens(list(tags), IOB2).entities}


def conlleval_chunks(tags: Symbols) -> set[tuple[str, int, int]]:
    """Kind, start and end (exclusive) of every chunk, by conlleval's reading of IOB1, IOB2 and IOBES.

    A chunk begins at B or S, and at an I or E that does not continue a chunk of its kind; it ends with E or S, and
    before any tag that does not continue it.

    Examples:
        >>> sorted(conlleval_chunks(("B-NP", "I-NP", "O", "I-VP", "B-VP")))
        [('NP', 0, 2), ('VP', 3, 4), ('VP', 4, 5)]

    Raises:
        DataError: a tag is not O, or B, I, E or S with a kind.
    """
    found: set[tuple[str, int, int]] = set()
    start = 0
    open_kind: str | None = None
    for position, tag in enumerate((*tags, "O")):
        if tag != "O" and tag[:2] not in ("B-", "I-", "E-", "S-"):
            raise DataError(f"chunks are read from the tags O, B-…, I-…, E-… and S-…, but one is {tag!r}; convert them")
        prefix, kind = tag[0], tag[2:] if tag != "O" else None
        goes_on = prefix in "IE" and kind == open_kind
        if not goes_on:
            if open_kind is not None:
                found.add((open_kind, start, position))
            start, open_kind = position, kind
        if prefix in "ES":
            found.add((tag[2:], start, position + 1))
            open_kind = None
    return found


def _best_f1(
    read: Callable[[Symbols], set[tuple[str, int, int]]], prediction: Symbols, references: tuple[Symbols, ...]
) -> tuple[float, float]:
    predicted = read(prediction)
    pairs = [(predicted, read(reference)) for reference in references]
    return _best([(2.0 * len(one & other), float(len(one) + len(other))) for one, other in pairs])


def _right_positions(prediction: Symbols, reference: Symbols) -> tuple[float, float]:
    right = sum(one == other for one, other in zip(prediction, reference, strict=False))
    return float(right), float(max(len(prediction), len(reference)))


def _right_at(positions: Sequence[int], prediction: Symbols, reference: Symbols) -> tuple[float, float]:
    """A position that the prediction or the reference lacks is wrong."""
    right = sum(prediction[i : i + 1] == reference[i : i + 1] != () for i in positions)
    return float(right), float(len(positions))


def _best(ratios: list[tuple[float, float]]) -> tuple[float, float]:
    """The largest ratio; nothing to count at all is as good as everything right. Of those that tie the first."""
    return max(ratios, key=lambda ratio: ratio[0] / ratio[1] if ratio[1] else 1.0)
