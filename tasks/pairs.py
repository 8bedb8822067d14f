"""What tasks have in common whose examples are pairs of texts."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from structpred.config import Count
from structpred.errors import DataError
from structpred.reading import Encoding
from structpred.task import Example, Splits, Task
from structpred.tasks.held_out import warn_of_new_labels, warn_of_shared
from structpred.tasks.reading import in_hashed_order, label_of, shared, splits_of
from structpred.vocabulary import Symbols

Separation = Literal["characters", "spaces"]
"""What a symbol is: a character (spaces too), or what stands between spaces (several spaces count as one)."""

_SEPARATOR: dict[Separation, str] = {"characters": "", "spaces": " "}


@dataclass(frozen=True, kw_only=True)
class Pairs(Task):
    """Pairs of a source and a target from files; a subclass says how a file looks.

    A split without a file of its own is held out of ``train``: a tenth of its sources (at least one), the first in
    the order of their SHA-256 for ``test``, the next for ``dev``, whatever the order of the lines; no source is on
    two sides. Where the files themselves share sources, a warning says how many, and another says which target symbols
    only dev or test have.

    Spaces around a text are dropped. A target symbol between spaces may not hold white space or invisible characters.

    Attributes:
        prose: whether targets are sentences in words, of which dev and test always have some more, and which are taken
            as they stand.
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

    additions: ClassVar[tuple[str, ...]] = ("encoding",)
    prose: ClassVar[bool] = False

    train: str
    dev: str | None = None
    test: str | None = None
    source: Separation = "characters"
    target: Separation = "spaces"
    longest: Count = 400
    encoding: Encoding = "utf-8"

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
    first: dict[Symbols, Example] = {}
    references: dict[Symbols, dict[Symbols, None]] = defaultdict(dict)  # the inner dict is a set that keeps order
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
    """What is left of the examples, then each part that was held out: a tenth of the sources.

    Raises:
        DataError: there are too few sources; the message begins with ``path``.
    """
    of: dict[Symbols, list[Example]] = defaultdict(list)
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
