"""Shared tasks of SIGMORPHON: pronunciation in many languages, and inflection."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.metrics import Metric, SigmorphonErrorRate, SymbolErrorRate, WordErrorRate
from structpred.registry import tasks
from structpred.tasks.inflection import Inflection
from structpred.tasks.published import Place, PublishedTask, files, github
from structpred.tasks.tsv import Tsv

Language = Literal[
    "ady", "arm", "bul", "dut", "fre", "geo", "gre", "hin", "hun", "ice", "jpn", "kor", "lit", "rum", "vie"
]  # fmt: skip
PARTS = ("train", "dev", "test")
_WIKTIONARY = "text from Wiktionary, CC BY-SA 3.0: name the source and share changes alike"


@tasks.register("sigmorphon-2020")
@dataclass(frozen=True, kw_only=True)
class Sigmorphon2020(PublishedTask):
    """Letters to phones: 3,600, 450 and 450 words in each of 15 languages (Gorman et al. 2020, task 1).

    The published table averages WER and PER over languages; its PER is the script's, here ``SIGMORPHON-PER``.

    Attributes:
        language: one of the task's codes. Checksums are known for ten; hun, jpn, kor, lit and vie must be at hand.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate(), SigmorphonErrorRate())
    origin: ClassVar[DataSet] = DataSet(
        title="SIGMORPHON 2020 grapheme-to-phoneme conversion",
        folder="sigmorphon2020",
        licence=_WIKTIONARY,
        citation=(
            "Gorman, Ashby, Goyzueta, McCarthy, Wu, You: The SIGMORPHON 2020 Shared Task on Multilingual "
            "Grapheme-to-Phoneme Conversion. SIGMORPHON 2020"
        ),
        files=files(
            "sigmorphon2020",
            {
                f"{part}/{language}_{part}.tsv": github(
                    "sigmorphon/2020", "3d9bb36", f"task1/data/{part}/{language}_{part}.tsv"
                )
                for part in PARTS
                for language in Language.__args__  # type: ignore[attr-defined]  # typing.get_args would hide the order
            },
        ),
    )

    language: Language

    def reader(self, place: Place) -> Tsv:
        """Pairs of a word and its phones."""
        train, dev, test = (place(f"{part}/{self.language}_{part}.tsv") for part in PARTS)
        return Tsv(train=train, dev=dev, test=test)


@tasks.register("sigmorphon-2021")
@dataclass(frozen=True, kw_only=True)
class Sigmorphon2021(PublishedTask):
    """Letters to phones in American English: 33,344, 4,168 and 4,168 words (Ashby et al. 2021, task 1, eng_us)."""

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())
    origin: ClassVar[DataSet] = DataSet(
        title="SIGMORPHON 2021 grapheme-to-phoneme conversion",
        folder="sigmorphon2021",
        licence=_WIKTIONARY,
        citation=(
            "Ashby et al.: Results of the Second SIGMORPHON Shared Task on Multilingual Grapheme-to-Phoneme "
            "Conversion. SIGMORPHON 2021"
        ),
        files=files(
            "sigmorphon2021",
            {
                f"eng_us_{part}.tsv": github("sigmorphon/2021-task1", "821bcde", f"data/high/eng_us_{part}.tsv")
                for part in PARTS
            },
        ),
    )

    def reader(self, place: Place) -> Tsv:
        """Pairs of a word and its phones."""
        train, dev, test = (place(f"eng_us_{part}.tsv") for part in PARTS)
        return Tsv(train=train, dev=dev, test=test)


_2017 = "519bb1677a7c747b3863d37069ffd395062288d8"


@tasks.register("sigmorphon-2017")
@dataclass(frozen=True, kw_only=True)
class Sigmorphon2017(PublishedTask):
    """Inflection: from a lemma and features to a form; 1,000 dev and 1,000 test lines (Cotterell et al. 2017, task 1).

    Attributes:
        language: English name in lower case, such as ``"german"``. Checksums are known of english, finnish and german;
            others must be at hand.
        size: the training file: ``"low"`` has 100 lines, ``"medium"`` 1,000 and ``"high"`` 10,000.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Inflection.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="CoNLL-SIGMORPHON 2017 inflection",
        folder="sigmorphon2017",
        licence=_WIKTIONARY,
        citation=(
            "Cotterell et al.: CoNLL-SIGMORPHON 2017 Shared Task: Universal Morphological Reinflection in 52 "
            "Languages. CoNLL-SIGMORPHON 2017"
        ),
        files=files(
            "sigmorphon2017",
            {
                f"{language}-{part}": github(
                    "sigmorphon/conll2017", _2017, f"{'answers' if 'test' in part else 'all'}/task1/{language}-{part}"
                )
                for language in ("english", "finnish", "german")
                for part in ("train-low", "train-medium", "train-high", "dev", "uncovered-test")
            },
        ),
    )

    language: str
    size: Literal["low", "medium", "high"] = "medium"

    def reader(self, place: Place) -> Inflection:
        """Lemmas, forms and features."""
        train, dev, test = (f"{self.language}-{part}" for part in (f"train-{self.size}", "dev", "uncovered-test"))
        return Inflection(train=place(train), dev=place(dev), test=place(test))
