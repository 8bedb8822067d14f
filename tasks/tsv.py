"""Any task that is two columns of text: a source, a tab, a target; or two among more columns."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.config import Count
from structpred.errors import ConfigError, DataError
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.reading import read_lines
from structpred.registry import tasks
from structpred.task import Example
from structpred.tasks.pairs import Pairs, merged
from structpred.tasks.reading import place_of
from structpred.vocabulary import Symbols


@tasks.register("tsv")
@dataclass(frozen=True, kw_only=True)
class Tsv(Pairs):
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
        encoding: how the files' bytes stand for characters.
        columns: number of columns every line has.
        source_column, target_column: which of them to read, from 0.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())
    additions: ClassVar[tuple[str, ...]] = (*Pairs.additions, "columns", "source_column", "target_column")

    columns: Count = 2
    source_column: int = 0
    target_column: int = 1

    def check(self) -> None:
        """Refuse columns that no line has."""
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
