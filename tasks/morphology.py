"""Inflected forms of words, and pronunciations of SIGMORPHON's shared tasks."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import ConfigError, DataError
from structpred.metrics import SER, Metric, SigmorphonErrorRate, SymbolErrorRate, WordErrorRate
from structpred.reading import Line, place_of, read_lines
from structpred.registry import tasks
from structpred.task import Example
from structpred.tasks.pairs import Pairs, Separation, Tsv, merged
from structpred.tasks.published import SETS, Place, PublishedTask
from structpred.tasks.reading import label_of
from structpred.values import Count
from structpred.vocabulary import Symbols


@tasks.register("inflection")
@dataclass(frozen=True, kw_only=True)
class Inflection(Pairs):
    """Lemma, form and features between tabs, a line each, as in ``fliegen``, ``flog``, ``V;3;SG;PST``, in any order.

    The source is the lemma's characters and behind them the features, written ``<V>`` so that none passes for a letter.
    Lines of the same source are one example. A split without a file of its own is held out of ``train``, as `Pairs`
    describes. An input to predict is a lemma, a tab and features.

    Attributes:
        columns: number of columns every line has.
        lemma_column, form_column, features_column: which of them to read, from 0.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (WordErrorRate(), SER())

    identity_optional: ClassVar[tuple[str, ...]] = (
        *Pairs.identity_optional,
        "columns",
        "lemma_column",
        "form_column",
        "features_column",
    )

    target: Separation = "characters"
    columns: Count = 3
    lemma_column: int = 0
    form_column: int = 1
    features_column: int = 2

    def check(self) -> None:
        """Refuse columns that no line has, and one that is to be two things."""
        names = ("lemma_column", "form_column", "features_column")
        for name in names:
            if not 0 <= getattr(self, name) < self.columns:
                raise ConfigError(
                    f"Inflection.{name} must be one of 0 to {self.columns - 1}, for lines of columns={self.columns}, "
                    f"but got {getattr(self, name)}"
                )
        numbers = [getattr(self, name) for name in names]
        if len(set(numbers)) < len(numbers):
            raise ConfigError(f"Inflection's {', '.join(names)} must be different columns, but got {numbers}")

    def examples(self, path: str) -> list[Example]:
        """The lemmas and forms of one file.

        Raises:
            DataError: it cannot be read, a line has more or fewer columns or nothing in one of them, or forms look like
                features.
        """
        rows = [(self._row(line), line[1]) for line in read_lines(place_of(path), self.encoding)]
        self._refuse_features(rows)
        return merged(self._example(row, where) for row, where in rows)

    def _row(self, line: Line) -> tuple[str, str, str]:
        """Lemma, form and features of a line."""
        text, where = line
        columns = text.split("\t")
        if len(columns) != self.columns:
            expected = "a lemma, a form and features" if self.columns == 3 else f"{self.columns} columns"
            raise DataError(
                f"{where} must be {expected}, but it has {len(columns)} column{'s' if len(columns) > 1 else ''}; "
                f"separate {'three' if self.columns == 3 else 'them'} by tabs"
            )
        return columns[self.lemma_column], columns[self.form_column], columns[self.features_column]

    def _refuse_features(self, rows: list[tuple[tuple[str, str, str], str]]) -> None:
        """Refuse a file most of whose forms have semicolons: it has its columns in another order."""
        for index, name in ((1, "form"), (0, "lemma")):
            found = [(row[index], where) for row, where in rows if ";" in row[index].strip(";")]
            if 2 * len(found) > len(rows):
                text, where = found[0]
                raise DataError(
                    f"{where} must have a {name} in column {getattr(self, f'{name}_column')}, but it has {text[:40]!r}"
                    f", which looks like features, as {len(found)} of {len(rows)} lines do; say which is which by "
                    "Inflection.lemma_column, form_column and features_column, from 0"
                )

    def _example(self, row: tuple[str, str, str], where: str) -> Example:
        lemma, form, features = row
        return Example(self._source(lemma, features, where), (self.labels(form, f"{where}: the form"),), where)

    def _source(self, lemma: str, features: str, where: str) -> Symbols:
        named = [feature.strip(" ") for feature in features.split(";")]
        if not all(named):
            raise DataError(f"{where} must have features between semicolons, but they are {features!r}; fill them in")
        for feature in named:
            label_of(feature, f"{where}: a feature")
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


Language = Literal[
    "ady", "arm", "bul", "dut", "fre", "geo", "gre", "hin", "hun", "ice", "jpn", "kor", "lit", "rum", "vie"
]  # fmt: skip


@tasks.register("sigmorphon-2020")
@dataclass(frozen=True, kw_only=True)
class Sigmorphon2020(PublishedTask):
    """Letters to phones: 3,600, 450 and 450 words in each of 15 languages (Gorman et al. 2020, task 1).

    The published table averages WER and PER over languages; its PER is the script's, here ``SIGMORPHON-PER``.

    Attributes:
        language: one of the task's codes. Checksums are known for ten; provide hun, jpn, kor, lit and vie.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate(), SigmorphonErrorRate())
    origin: ClassVar[DataSet] = SETS["sigmorphon2020"]

    language: Language

    def reader(self, place: Place) -> Tsv:
        """Pairs of a word and its phones."""
        return Tsv(**self.parts(place))


@tasks.register("sigmorphon-2021")
@dataclass(frozen=True, kw_only=True)
class Sigmorphon2021(PublishedTask):
    """Letters to phones in American English: 33,344, 4,168 and 4,168 words (Ashby et al. 2021, task 1, eng_us)."""

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())
    origin: ClassVar[DataSet] = SETS["sigmorphon2021"]

    def reader(self, place: Place) -> Tsv:
        """Pairs of a word and its phones."""
        return Tsv(**self.parts(place))


@tasks.register("sigmorphon-2017")
@dataclass(frozen=True, kw_only=True)
class Sigmorphon2017(PublishedTask):
    """Inflection: from a lemma and features to a form; 1,000 dev and 1,000 test lines (Cotterell et al. 2017, task 1).

    Attributes:
        language: English name in lower case, such as ``"german"``. Checksums are known for english, finnish and german;
            provide others.
        size: the training file: ``"low"`` has 100 lines, ``"medium"`` 1,000 and ``"high"`` 10,000.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Inflection.metrics
    origin: ClassVar[DataSet] = SETS["sigmorphon2017"]

    language: str
    size: Literal["low", "medium", "high"] = "medium"

    def reader(self, place: Place) -> Inflection:
        """Lemmas, forms and features."""
        return Inflection(**self.parts(place))
