"""Inflection: from a lemma and what form is wanted to the form."""

from dataclasses import dataclass
from typing import ClassVar

from structpred.errors import DataError
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.reading import read_lines
from structpred.registry import tasks
from structpred.task import Example
from structpred.tasks.pairs import Pairs, Separation, merged
from structpred.tasks.reading import place_of
from structpred.vocabulary import Symbols


@tasks.register("inflection")
@dataclass(frozen=True, kw_only=True)
class Inflection(Pairs):
    """Lemma, form and features between tabs, a line each, as in ``fliegen``, ``flog``, ``V;3;SG;PST``.

    The source is the lemma's characters and behind them the features, written ``<V>`` so that none passes for a letter.
    Lines of the same source are one example. A split without a file of its own is held out of ``train``, as `Pairs`
    describes. An input to predict is a lemma, a tab and features.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (WordErrorRate(), SymbolErrorRate())

    target: Separation = "characters"

    def examples(self, path: str) -> list[Example]:
        """The lemmas and forms of one file.

        Raises:
            DataError: it cannot be read, or a line has not three columns with something in them.
        """
        return merged(self._example(line, where) for line, where in read_lines(place_of(path), self.encoding))

    def _example(self, line: str, where: str) -> Example:
        columns = line.split("\t")
        if len(columns) != 3:
            raise DataError(
                f"{where} must be a lemma, a form and features, but it has {len(columns)} columns; separate "
                "three by tabs"
            )
        lemma, form, features = columns
        source = self._source(lemma, features, where)
        return Example(source, (self.symbols(form, self.target, f"{where}: the form"),), where)

    def _source(self, lemma: str, features: str, where: str) -> Symbols:
        named = features.split(";")
        if not all(feature.strip() for feature in named):
            raise DataError(f"{where} must have features between semicolons, but they are {features!r}; fill them in")
        return (*self.symbols(lemma, self.source, f"{where}: the lemma"), *(f"<{feature}>" for feature in named))

    def parse(self, text: str) -> Symbols:
        """The source symbols of a lemma, a tab and features.

        Raises:
            DataError: the text is something else.
        """
        lemma, tab, features = text.partition("\t")
        if not tab or "\t" in features:
            raise DataError(f"the input must be a lemma, one tab and features such as V;PST, but got {text[:60]!r}")
        return self._source(lemma, features, "the input")
