"""Sentences and their translations."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import ConfigError, DataError
from structpred.metrics import Bleu, Chrf, Metric
from structpred.reading import Line, read_member
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.pairs import Parallel
from structpred.tasks.published import SETS, Place, PublishedTask
from structpred.tasks.reading import shared, splits_of
from structpred.values import Count
from structpred.vocabulary import Symbols

Language = Literal["de", "en", "fr"]

_STEMS = {kind: tuple(f"{kind}/{part}{ending}" for part in ("train", "val", "test_2016_flickr"))
          for kind, ending in (("tok", ".lc.norm.tok"), ("raw", ""))}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Captions(PublishedTask):
    """What both forms of the text have in common."""

    origin: ClassVar[DataSet] = SETS["multi30k"]
    kind: ClassVar[str]

    source: Language = "de"
    target: Language = "en"

    def check(self) -> None:
        """Refuse a language into itself."""
        if self.source == self.target:
            raise ConfigError(
                f"{type(self).__name__}.target must be another language than source={self.source!r}, but it is the same"
            )

    def reader(self, place: Place) -> Parallel:
        """Pairs of sentences."""
        train, dev, test = (self._stem(place, stem) for stem in _STEMS[self.kind])
        return Parallel(
            train=train, dev=dev, test=test, source_suffix=f".{self.source}", target_suffix=f".{self.target}"
        )

    def _stem(self, place: Place, stem: str) -> str:
        """The common beginning of two paths; both files are found first."""
        found = {place(f"{stem}.{language}").removesuffix(".gz").removesuffix(f".{language}") for language in
                 (self.source, self.target)}  # fmt: skip
        return min(found)


@tasks.register("multi30k")
@dataclass(frozen=True, kw_only=True)
class Multi30k(_Captions):
    """Captions from one language into another: 29,000, 1,014 and 1,000 sentences (Elliott et al. 2016).

    The text is the published one in lower case, normalised and cut into Moses's tokens, and BLEU is computed on these
    tokens, as in most of the literature. ``test`` is test_2016_flickr. No checksum is known of the French files, so
    they are not downloaded.

    Attributes:
        source, target: languages, ``"de"``, ``"en"`` or ``"fr"``.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(tokenize="none"), Chrf())
    kind: ClassVar[str] = "tok"


@tasks.register("multi30k-raw")
@dataclass(frozen=True, kw_only=True)
class Multi30kRaw(_Captions):
    """The captions of `Multi30k` as they were written, in words between spaces; BLEU by sacrebleu's own tokens.

    Attributes:
        source, target: languages, ``"de"``, ``"en"`` or ``"fr"``.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(), Chrf())
    kind: ClassVar[str] = "raw"


GermanOrEnglish = Literal["de", "en"]
Pair = tuple[str, str, str]
"""English, German, and where they stand."""

ARCHIVE, MEMBER = "deu-eng.zip", "deu.txt"
LARGEST_HELD_OUT = 20
"""Pairs that a group may have and still be held out, so that no few sentences make much of a test."""

_WORDS = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


@tasks.register("tatoeba")
@dataclass(frozen=True, kw_only=True)
class Tatoeba(Task):
    """German and English sentences: 165,813, 2,000 and 2,000 pairs of Tatoeba, as ManyThings.org gave them out in 2018.

    Symbols are words and single punctuation marks; BLEU and chrF are sacrebleu's and hardly see the difference. With
    ``cut="spaces"`` they are what stands between spaces, so that sentences keep their form; `Subwords` reads those.

    The file repeats sentences with other translations and is sorted by length, so it is split by groups: pairs that
    share a sentence of either language, directly or through others, stay together. Groups come in the order of the
    SHA-256 of their first English sentence by code points; one of more than 20 pairs goes to train, each other to dev
    if it still fits there, else to test if it fits there, else to train. So no sentence is on two sides.

    Attributes:
        source, target: languages, ``"de"`` and ``"en"`` or the reverse.
        held_out: pairs of dev, and of test.
        longest: number of symbols a sentence may have.
        cut: ``"words"``, where punctuation marks are symbols of their own, or ``"spaces"``.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Bleu(), Chrf())
    origin: ClassVar[DataSet] = SETS["tatoeba"]
    identity_optional: ClassVar[tuple[str, ...]] = ("cut",)

    source: GermanOrEnglish = "de"
    target: GermanOrEnglish = "en"
    held_out: Count = 2000
    longest: Count = 400
    cut: Literal["words", "spaces"] = "words"

    @property
    def terms(self) -> str:
        """Those of the data set."""
        return self.origin.terms

    def check(self) -> None:
        """Refuse a language into itself."""
        if self.source == self.target:
            raise ConfigError(
                f"Tatoeba.target must be another language than source={self.source!r}, but it is the same"
            )

    def load(self) -> Splits:
        """Find the archive, read it in memory and split it.

        Raises:
            DataError: it cannot be found, downloaded or read, or a line is not a pair.
        """
        return self.read(self.origin.path(ARCHIVE))

    def read(self, archive: Path) -> Splits:
        """The splits of an archive.

        Raises:
            DataError: it cannot be read, a line is not a pair, or nothing is left to train on.
        """
        pairs = [_pair(line) for line in read_member(archive, MEMBER)]
        rooms = {"dev": self.held_out, "test": self.held_out}
        parts: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
        for group in _groups(pairs):
            part = next((name for name, room in rooms.items() if len(group) <= min(room, LARGEST_HELD_OUT)), "train")
            if part in rooms:
                rooms[part] -= len(group)
            parts[part] += [self._example(pair) for pair in group]
        if not parts["train"]:
            raise DataError(f"{MEMBER} must leave pairs to train on, but all are held out; lower Tatoeba.held_out")
        return splits_of(**parts)

    def _example(self, pair: Pair) -> Example:
        texts, where = dict(zip(("en", "de"), pair[:2], strict=True)), pair[2]
        return Example(self._symbols(texts[self.source], where), (self._symbols(texts[self.target], where),), where)

    def _symbols(self, text: str, where: str) -> Symbols:
        symbols = shared(_WORDS.findall(text) if self.cut == "words" else text.split())
        if not 0 < len(symbols) <= self.longest:
            raise DataError(f"{where} must have sentences of 1 to {self.longest} symbols, but one has {len(symbols)}")
        return symbols

    def parse(self, text: str) -> Symbols:
        """The words and punctuation marks of a sentence.

        Raises:
            DataError: there is none, or there are more than ``longest``.
        """
        return self._symbols(text, "the input")

    def render(self, output: Symbols) -> str:
        """Symbols between spaces."""
        return " ".join(output)


def _pair(line: Line) -> Pair:
    text, where = line
    columns = text.split("\t")
    if len(columns) != 2:
        raise DataError(
            f"{where} must be an English sentence, a tab and a German one, but it has {len(columns)} columns; fetch "
            "the archive again"
        )
    return columns[0], columns[1], where


def _groups(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs that share a sentence, together; groups in the order of the SHA-256 of their first English sentence."""
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(sentence: tuple[int, str]) -> tuple[int, str]:
        while (above := parent.setdefault(sentence, sentence)) != sentence:
            parent[sentence] = parent[above]  # halve the path
            sentence = above
        return sentence

    for english, german, _ in pairs:
        parent[root((0, english))] = root((1, german))
    groups: dict[tuple[int, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[root((0, pair[0]))].append(pair)
    return sorted(groups.values(), key=lambda group: hashlib.sha256(min(each[0] for each in group).encode()).digest())
