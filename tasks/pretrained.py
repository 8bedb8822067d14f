"""Any task's text in the pieces of a pretrained tokenizer, for the networks that read and write these."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from structpred.errors import ConfigError, DataError
from structpred.metrics import Bleu, Chrf, Metric
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.labels import Pieces
from structpred.pretrained.places import TOKENIZER
from structpred.registry import tasks
from structpred.sequences import Recording, Source
from structpred.task import Example, Splits, Task
from structpred.tasks.published import loaded_for_pieces
from structpred.tasks.reading import in_pieces, splits_of
from structpred.vocabulary import Symbols


class LossyPiecesWarning(UserWarning):
    """References are not what their pieces spell."""


@tasks.register("pretrained-pieces")
@dataclass(frozen=True, kw_only=True)
class PretrainedPieces(Task):
    """Another task, whose text is cut into pieces by the tokenizer of a pretrained model; for `PretrainedSeq2Seq`.

    Sources and references become the pieces of their text, without the special ones that the model puts around them.
    Metrics are those of the other task and compare its own symbols: an output's pieces are put together and cut as the
    other task's references are, at spaces or into characters. References stay as they were written. Where a tokenizer
    loses part of them, such as capitals, no output can be right, and a warning says how many there are. Rewards
    that read text see pieces put together; those of labels count pieces.

    The tokenizer is part of a run's identity by the digest of its files, not by its path.

    Attributes:
        text: any task whose sources are symbols.
        path_or_name, revision, pickles: the model, as in `PretrainedSeq2Seq`; only its tokenizer and its configs are
            read.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(), Chrf())
    outside: ClassVar[tuple[str, ...]] = ("path_or_name", "revision", "pickles")

    text: Task
    path_or_name: str
    revision: str | None = None
    pickles: bool = False

    def check(self) -> None:
        """Refuse pieces of pieces; take over the other task's metrics."""
        if isinstance(self.text, PretrainedPieces):
            raise ConfigError(
                "PretrainedPieces.text must be a task in words or characters, but got PretrainedPieces; name the task "
                "within"
            )
        object.__setattr__(self, "metrics", self.text.metrics)

    def fingerprint(self) -> tuple[str, ...]:
        """The digest of the tokenizer's files."""
        folder = ModelFolder.of(self.path_or_name, self.revision, pickles=self.pickles)
        files = sorted((name, digest) for name, digest in folder.files.items() if name in TOKENIZER)
        return (hashlib.sha256(repr(files).encode()).hexdigest(),)

    @property
    def terms(self) -> str:
        """Those of the other task."""
        return self.text.terms

    def load(self) -> Splits:
        """Read the other task and cut everything into pieces.

        Raises:
            AbsentError: the model is nowhere.
            DataError: the other task cannot be read, its inputs are recordings, or a text has no pieces.
            ConfigError: the other task's references are neither words between spaces nor characters.
        """
        found, pieces = loaded_for_pieces(self.text), self._pieces()
        words = _words_of(self.text, found.train)
        train, dev, test = (self._cut(examples, pieces, words) for examples in (found.train, found.dev, found.test))
        _warn_of_loss([*train, *dev, *test])
        return splits_of(train=train, dev=dev, test=test)

    def parse(self, text: str) -> Symbols:
        """The pieces of an input.

        Raises:
            DataError: the other task refuses it, or it has no pieces.
        """
        spelt = self._spelt(self.text.parse(text), "the input")
        (pieces,) = _cut(self._pieces(), [spelt], ["the input"])
        return pieces

    def render(self, output: Symbols) -> str:
        """The text of pieces."""
        return self._pieces().text(output)

    def show(self, source: Source) -> str:
        """The text of an input's pieces."""
        return self._pieces().text(() if isinstance(source, Recording) else source)

    def _pieces(self) -> Pieces:
        return Pieces.of(self.path_or_name, self.revision, pickles=self.pickles)

    def _spelt(self, source: Source, where: str) -> str:
        """A source as text: the one of which the other task makes this source."""
        if isinstance(source, Recording):
            raise DataError(
                f"{where}: PretrainedPieces reads text, but the input is a recording; choose a task of text"
            )
        between = " ".join(source)
        try:
            if self.text.parse(between) == source:
                return between
        except DataError:
            pass
        return "".join(source)

    def _cut(self, examples: Sequence[Example], pieces: Pieces, words: Callable[[str], Symbols]) -> list[Example]:
        """The examples in pieces."""
        places = [example.where for example in examples]
        sources = _cut(pieces, [self._spelt(each.source, each.where) for each in examples], places)
        texts = [self.text.render(reference) for example in examples for reference in example.references]
        targets = pieces.cut(texts, target=True)
        return in_pieces(examples, sources, targets, lambda output: words(pieces.text(output)))


def _cut(pieces: Pieces, texts: Sequence[str], places: Sequence[str]) -> list[Symbols]:
    """The pieces of sources.

    Raises:
        DataError: one has none; the message names its place.
    """
    found = pieces.cut(texts)
    for text, symbols, where in zip(texts, found, places, strict=True):
        if not symbols:
            raise DataError(
                f"{where} must hold text, but the tokenizer of {pieces.name} makes no piece of {text[:40]!r}; remove it"
            )
    return found


def _words_of(task: Task, examples: Sequence[Example]) -> Callable[[str], Symbols]:
    """What makes a task's symbols of a text."""
    references = [reference for example in examples for reference in example.references]
    ways: tuple[tuple[str, Callable[[str], Symbols]], ...] = ((" ", lambda text: tuple(text.split())), ("", tuple))
    for between, words in ways:
        if all(task.render(reference) == between.join(reference) for reference in references):
            return words
    raise ConfigError(
        f"PretrainedPieces.text must be a task whose references are words between spaces or characters, but "
        f"{type(task).__name__} writes them in another way; set PretrainedSeq2Seq.symbols to 'task', which needs no "
        "pieces"
    )


def _warn_of_loss(examples: Sequence[Example]) -> None:
    """Warn once about references that no pieces spell."""
    lost, every = [], 0
    for example in examples:
        assert example.wording is not None
        for pieces, reference in zip(example.references, example.wording.references, strict=True):
            every += 1
            if example.wording.words(pieces) != reference:
                lost.append((example.where, " ".join(example.wording.words(pieces))))
    if lost:
        where, text = lost[0]
        warnings.warn(
            f"{where}: the tokenizer loses part of the reference, whose pieces spell {text[:40]!r}; this affects "
            f"{len(lost)} of {every} references, which no output can equal",
            LossyPiecesWarning,
            stacklevel=4,
        )
