"""Any task that is two columns of text: a source, a tab, a target."""

import os.path
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from structpred.config import Count
from structpred.errors import DataError
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.reading import read_lines
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.reading import in_hashed_order, splits_of
from structpred.vocabulary import Symbols

Separation = Literal["characters", "spaces"]


@tasks.register("tsv")
@dataclass(frozen=True, kw_only=True)
class Tsv(Task):
    """Pairs from tab-separated files: UTF-8 with one source, one tab and one target a line, and no heading.

    Lines with the same source are one example with several references, in the order of the lines; equal ones are
    merged. A blank line is refused, except at the end of a file. Symbols are compared as they stand: letter case and
    Unicode normal form are the file's business.

    A split without a file of its own is held out of ``train``: a tenth of its sources (at least one), the first in
    the order of their SHA-256 for ``test``, the next for ``dev``, whatever the order of the lines; no source is on
    two sides. Where the files themselves share sources, a warning says how many.

    Attributes:
        train: path of the training file. Variables and ``~`` are expanded when it is read, so that a saved
            experiment may say ``$STRUCTPRED_DATA/…`` and mean the same on every machine.
        dev: path of the dev file, or None to hold it out.
        test: path of the test file, or None to hold it out.
        source: what a source symbol is: a character (spaces are symbols too), or what stands between spaces
            (several spaces count as one).
        target: the same of the target.
        longest: number of symbols a source or a target may have.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())

    train: str
    dev: str | None = None
    test: str | None = None
    source: Separation = "characters"
    target: Separation = "spaces"
    longest: Count = 400

    def load(self) -> Splits:
        """Read the files and hold out what has none.

        Raises:
            DataError: a file cannot be read, a line is not a pair, or there are too few sources to hold some out.
        """
        missing = (self.test, self.dev).count(None)
        train, *held_out = _held_out(self._read(self.train), parts=missing, path=self.train)
        test, dev = (held_out.pop(0) if path is None else self._read(path) for path in (self.test, self.dev))
        _warn_of_shared(train, dev, test)
        return splits_of(train=train, dev=dev, test=test)

    def parse(self, text: str) -> Symbols:
        """The source symbols of one line of text.

        Raises:
            DataError: the text is empty, longer than ``longest`` or holds a tab.
        """
        if "\t" in text:
            raise DataError(f"the input must be a source alone, but {_shown(text)} holds a tab; leave out the target")
        return self._symbols(text, self.source, "the input")

    def render(self, output: Symbols) -> str:
        """Target symbols as the files write them."""
        return _SEPARATOR[self.target].join(output)

    def _read(self, path: str) -> list[Example]:
        references: dict[Symbols, dict[Symbols, None]] = {}  # the inner dict is a set that keeps order
        first: dict[Symbols, str] = {}
        for line, where in read_lines(Path(os.path.expandvars(path)).expanduser()):
            source, target = _columns(line, where)
            symbols = self._symbols(source, self.source, f"{where}: the source")
            references.setdefault(symbols, {})[self._symbols(target, self.target, f"{where}: the target")] = None
            first.setdefault(symbols, where)
        return [Example(source, tuple(right), first[source]) for source, right in references.items()]

    def _symbols(self, text: str, separation: Separation, where: str) -> Symbols:
        if not text.strip():
            raise DataError(f"{where} must hold at least one symbol, but it is empty; write it out")
        symbols = tuple(text) if separation == "characters" else tuple(filter(None, text.split(" ")))
        if len(symbols) > self.longest:
            raise DataError(
                f"{where} must have at most {self.longest} symbols, but it has {len(symbols)}; "
                "shorten it or raise Tsv.longest"
            )
        return symbols


_SEPARATOR: dict[Separation, str] = {"characters": "", "spaces": " "}


def _columns(line: str, where: str) -> tuple[str, str]:
    if not line:
        raise DataError(f"{where} must be a source, a tab and a target, but it is blank; remove the line")
    columns = line.split("\t")
    if len(columns) != 2:
        count = f"{len(columns)} column{'s' if len(columns) > 1 else ''}"
        raise DataError(
            f"{where} must be a source, a tab and a target, but it has {count}: {_shown(line)}; "
            "separate two columns by one tab"
        )
    return columns[0], columns[1]


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."


def _held_out(examples: list[Example], *, parts: int, path: str) -> list[list[Example]]:
    """What is left of the examples, then each part that was held out."""
    if len(examples) <= parts:
        raise DataError(
            f"{path} must have more than {parts} sources, so that dev or test can be held out, but it has "
            f"{len(examples)}; add some or name files for dev and test"
        )
    tenth = max(1, len(examples) // 10)
    of = {example.source: example for example in examples}
    order = [of[source] for source in in_hashed_order(of)]
    held_out = [order[part * tenth : (part + 1) * tenth] for part in range(parts)]
    taken = {example.source for part in held_out for example in part}
    return [[example for example in examples if example.source not in taken], *held_out]


def _warn_of_shared(train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example]) -> None:
    sources = {example.source for example in train}
    shared = [sum(example.source in sources for example in split) for split in (dev, test)]
    if any(shared):
        warnings.warn(
            f"{shared[0]} of {len(dev)} dev sources and {shared[1]} of {len(test)} test sources are also in the "
            "training data; scores on them flatter, so remove them from one side",
            stacklevel=3,
        )
