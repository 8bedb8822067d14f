"""Pairs of a source and a target, from files of any two texts."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from structpred.errors import ConfigError, DataError
from structpred.metrics import SER, Bleu, Chrf, Metric, WordErrorRate
from structpred.reading import Encoding, place_of, read_lines
from structpred.registry import tasks
from structpred.sequences import Source
from structpred.task import Example, Splits, Task
from structpred.tasks.published import warn_of_new_labels, warn_of_shared
from structpred.tasks.reading import in_hashed_order, label_of, shared, splits_of
from structpred.values import Count
from structpred.vocabulary import Symbols

Separation = Literal["characters", "spaces"]
"""What a symbol is: a character (spaces too), or what stands between spaces (several spaces count as one)."""

_SEPARATOR: dict[Separation, str] = {"characters": "", "spaces": " "}


@dataclass(frozen=True, kw_only=True)
class Pairs(Task):
    """Pairs of a source and a target from files; a subclass says how a file looks.

    A split without a file of its own is held out of ``train``: a tenth of its sources (at least one), the first in
    the order of their SHA-256 for ``test``, the next for ``dev``, in any order of the lines; no source is on
    two sides. Where the files themselves share sources, a warning says how many, and another says which target symbols
    only dev or test have.

    Spaces around a text are dropped. A target symbol between spaces may not hold white space or invisible characters.

    Attributes:
        train: path of the training file. Variables and ``~`` are expanded when it is read, so that a saved
            experiment may say ``$STRUCTPRED_DATA/…`` and mean the same on every machine.
        dev: path of the dev file, or None to hold it out.
        test: path of the test file, or None to hold it out.
        source: what a source symbol is: a character (spaces are symbols too), or what stands between spaces
            (several spaces count as one).
        target: the same of the target.
        longest: number of symbols a source or a target may have.
        encoding: how the files' bytes stand for characters.
    """

    identity_optional: ClassVar[tuple[str, ...]] = ("encoding",)
    train: str
    dev: str | None = None
    test: str | None = None
    source: Separation = "characters"
    target: Separation = "spaces"
    longest: Count = 400
    encoding: Encoding = "utf-8"

    @property
    def prose(self) -> bool:
        """Whether targets are sentences in words, of which dev and test always have new ones, taken as they stand."""
        return False

    @abstractmethod
    def examples(self, path: str) -> list[Example]:
        """The examples of one file.

        Raises:
            DataError: it cannot be read, or a line is not what it must be.
        """

    def load(self) -> Splits:
        """Read the files and hold out what has none.

        Raises:
            DataError: a file cannot be read, a line is not a pair, or there are too few sources to hold some out.
        """
        missing = (self.test, self.dev).count(None)
        train, *held_out = hold_out(self.examples(self.train), parts=missing, path=self.train)
        test, dev = (held_out.pop(0) if path is None else self.examples(path) for path in (self.test, self.dev))
        splits = splits_of(train=train, dev=dev, test=test)
        warn_of_shared(splits)
        if not self.prose:
            warn_of_new_labels(splits)
        return splits

    def parse(self, text: str) -> Symbols:
        """The source symbols of one line of text.

        Raises:
            DataError: the text is empty or longer than ``longest``.
        """
        return self.symbols(text, self.source, "the input")

    def render(self, output: Symbols) -> str:
        """Target symbols as the files write them."""
        return _SEPARATOR[self.target].join(output)

    def symbols(self, text: str, separation: Separation, where: str) -> Symbols:
        """A text's symbols, without spaces around it.

        Raises:
            DataError: there is none, or there are more than ``longest``; the message begins with ``where``.
        """
        if not text.strip():
            raise DataError(f"{where} must hold at least one symbol, but it is empty; write it out")
        symbols = tuple(text.strip(" ")) if separation == "characters" else shared(filter(None, text.split(" ")))
        if len(symbols) > self.longest:
            raise DataError(
                f"{where} must have at most {self.longest} symbols, but it has {len(symbols)}; "
                f"shorten it or raise {type(self).__name__}.longest"
            )
        return symbols

    def pair(self, source: str, target: str, where: str) -> Example:
        """An example of one reference."""
        symbols = self.symbols(source, self.source, f"{where}: the source")
        return Example(symbols, (self.labels(target, f"{where}: the target"),), where)

    def labels(self, text: str, where: str) -> Symbols:
        """The symbols of a target.

        Raises:
            DataError: as `symbols`, and where one between spaces holds white space or an invisible character.
        """
        symbols = self.symbols(text, self.target, where)
        if self.target == "spaces" and not self.prose:
            for symbol in symbols:
                label_of(symbol, f"{where}'s symbols")
        return symbols


def merged(examples: Iterable[Example]) -> list[Example]:
    """Examples of the same source as one with all their references, in order; equal references are one.

    Raises:
        DataError: two of the same source have other metadata.
    """
    first: dict[Source, Example] = {}
    references: dict[Source, dict[Symbols, None]] = defaultdict(dict)  # the inner dict is a set that keeps order
    for example in examples:
        before = first.setdefault(example.source, example)
        if example.metadata != before.metadata:
            raise DataError(
                f"{example.where} has the source of {before.where}, so that both are one example, but other metadata; "
                "give them the same, or leave those keys out"
            )
        references[example.source].update(dict.fromkeys(example.references))
    return [replace(example, references=tuple(references[source])) for source, example in first.items()]


def hold_out(examples: Sequence[Example], *, parts: int, path: str) -> list[list[Example]]:
    """The remaining examples, then each part that was held out: a tenth of the sources.

    Raises:
        DataError: there are too few sources; the message begins with ``path``.
    """
    of: dict[Source, list[Example]] = defaultdict(list)
    for example in examples:
        of[example.source].append(example)
    if len(of) <= parts:
        raise DataError(
            f"{path} must have more than {parts} sources, so that dev or test can be held out, but it has "
            f"{len(of)}; add some or name files for dev and test"
        )
    tenth = max(1, len(of) // 10)
    order = in_hashed_order(of)
    taken = set(order[: parts * tenth])
    held_out = [order[part * tenth : (part + 1) * tenth] for part in range(parts)]
    left = [example for example in examples if example.source not in taken]
    return [left, *([example for source in part for example in of[source]] for part in held_out)]


@tasks.register("parallel")
@dataclass(frozen=True, kw_only=True)
class Parallel(Pairs):
    """Sentence pairs from line-parallel files, such as ``train.de`` and ``train.en``, plain or gzipped.

    Scores are sacrebleu's, for text in words. Every line is an example of its own; one that is empty is refused. A
    split without files of its own is held out of ``train``, as `Pairs` describes. Where only ``train.de.gz`` exists,
    it is read for ``train.de``.

    Attributes:
        train, dev, test: paths without the suffix, such as ``$STRUCTPRED_DATA/multi30k/tok/train.lc.norm.tok``.
        source_suffix, target_suffix: what to put behind them for either side, such as ``.de`` and ``.en``.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(), Chrf())
    source_suffix: str
    target_suffix: str
    source: Separation = "spaces"

    @property
    def prose(self) -> bool:
        """True: new words are expected, and words are taken as they stand."""
        return True

    def examples(self, path: str) -> list[Example]:
        """The pairs of two files.

        Raises:
            DataError: one cannot be read or has an empty line, or they have different numbers of lines.
        """
        places = [_packed_or_not(place_of(f"{path}{suffix}")) for suffix in (self.source_suffix, self.target_suffix)]
        sources, targets = (read_lines(place, self.encoding) for place in places)
        if len(sources) != len(targets):
            raise DataError(
                f"{places[0].name} and {places[1].name} must have as many lines, but they have {len(sources)} and "
                f"{len(targets)}; pair them anew"
            )
        return [
            Example(
                self.symbols(source, self.source, where),
                (self.labels(target, other),),
                where,
            )
            for (source, where), (target, other) in zip(sources, targets, strict=True)
        ]


def _packed_or_not(place: Path) -> Path:
    packed = place.with_name(f"{place.name}.gz")
    return packed if not place.exists() and packed.exists() else place


@tasks.register("tsv")
@dataclass(frozen=True, kw_only=True)
class Tsv(Pairs):
    """Pairs from tab-separated files: UTF-8 with one source, one tab and one target a line, and no heading.

    Lines with the same source are one example with several references, in the order of the lines; equal ones are
    merged. A blank line is refused, except at the end of a file. Symbols are compared as they stand: letter case and
    Unicode normal form are the file's business.

    `Pairs` describes how splits without a file are held out, and the other fields.

    Attributes:
        columns: number of columns every line has.
        source_column, target_column: which of them to read, from 0.
        sentences: True where targets are sentences in words, as in translation: words are taken as they stand, and that
            dev and test have new ones is no cause for a warning.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SER(), WordErrorRate())
    identity_optional: ClassVar[tuple[str, ...]] = (
        *Pairs.identity_optional,
        "columns",
        "source_column",
        "target_column",
        "sentences",
    )

    columns: Count = 2
    source_column: int = 0
    target_column: int = 1
    sentences: bool = False

    @property
    def prose(self) -> bool:
        """What ``sentences`` says."""
        return self.sentences

    def check(self) -> None:
        """Refuse columns that no line has, and sentences in characters."""
        if self.sentences and self.target != "spaces":
            raise ConfigError("Tsv.sentences is for targets in words; set target=spaces, or leave it out")
        for name in ("source_column", "target_column"):
            if not 0 <= getattr(self, name) < self.columns:
                raise ConfigError(
                    f"Tsv.{name} must be one of 0 to {self.columns - 1}, for lines of columns={self.columns}, but got "
                    f"{getattr(self, name)}"
                )

    def examples(self, path: str) -> list[Example]:
        """The sources of one file, each with all its targets.

        Raises:
            DataError: the file cannot be read, or a line is not a pair.
        """
        return merged(
            self.pair(*self._pair(line, where), where) for line, where in read_lines(place_of(path), self.encoding)
        )

    def parse(self, text: str) -> Symbols:
        """The source symbols of one line of text.

        Raises:
            DataError: the text is empty, longer than ``longest`` or holds a tab.
        """
        if "\t" in text:
            raise DataError(f"the input must be a source alone, but {_shown(text)} holds a tab; leave out the target")
        return super().parse(text)

    def _pair(self, line: str, where: str) -> tuple[str, str]:
        found = line.split("\t")
        if not line or len(found) != self.columns:
            wanted, many = ("a source, a tab and a target", "two") if self.columns == 2 else ("", str(self.columns))
            expected = f"{where} must be {wanted or f'{many} columns between tabs'}"
            if not line:
                raise DataError(f"{expected}, but it is blank; remove the line")
            count = f"{len(found)} column{'s' if len(found) > 1 else ''}"
            raise DataError(f"{expected}, but it has {count}: {_shown(line)}; separate {many} columns by one tab")
        return found[self.source_column], found[self.target_column]


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
