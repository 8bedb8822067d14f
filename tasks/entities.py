"""Named entities: diseases, names in Spanish and Dutch newspapers, rare names in social media."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.metrics import Metric
from structpred.reading import Encoding
from structpred.registry import tasks
from structpred.tasks.conll import Conll
from structpred.tasks.published import Place, PublishedTask, files, github


@tasks.register("ncbi-disease")
@dataclass(frozen=True, kw_only=True)
class NcbiDisease(PublishedTask):
    """Words to mentions of diseases: 5,432, 923 and 940 sentences of PubMed abstracts (Doğan, Leaman and Lu 2014)."""

    metrics: ClassVar[tuple[Metric, ...]] = Conll.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="NCBI disease corpus",
        folder="ncbi_disease",
        licence="public domain, a work of the United States Government",
        citation=(
            "Doğan, Leaman, Lu: NCBI disease corpus: A resource for disease name recognition and concept "
            "normalization. Journal of Biomedical Informatics 47, 2014"
        ),
        files=files(
            "ncbi_disease",
            {
                name: github("spyysalo/ncbi-disease", "5a266c6fc76fb2b5184cfa397ff0a5ecdb133aec", f"conll/{name}")
                for name in ("train.tsv", "devel.tsv", "test.tsv")
            },
        ),
    )

    def reader(self, place: Place) -> Conll:
        """Words and tags."""
        return Conll(train=place("train.tsv"), dev=place("devel.tsv"), test=place("test.tsv"), comments=False)


@tasks.register("conll-2002")
@dataclass(frozen=True, kw_only=True)
class Conll2002(PublishedTask):
    """Words to names of persons, organisations, places and others in newspapers (Tjong Kim Sang 2002).

    Nobody who wrote this had the files, so they must be at hand: ``esp.train``, ``esp.testa`` and ``esp.testb``, or
    the same of ``ned``. The shared task's own are in Latin-1.

    Attributes:
        language: ``"esp"``, Spanish, or ``"ned"``, Dutch.
        encoding: how the files' bytes stand for characters.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Conll.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="CoNLL-2002 named entities",
        folder="conll2002",
        licence="newspaper text with no licence stated: for research only",
        citation=(
            "Tjong Kim Sang: Introduction to the CoNLL-2002 Shared Task: Language-Independent Named Entity "
            "Recognition. CoNLL 2002"
        ),
        restricted=True,
    )

    language: Literal["esp", "ned"]
    encoding: Encoding = "utf-8"

    def reader(self, place: Place) -> Conll:
        """Words and tags."""
        train, dev, test = (place(f"{self.language}.{part}") for part in ("train", "testa", "testb"))
        return Conll(train=train, dev=dev, test=test, comments=False, encoding=self.encoding)


@tasks.register("wnut-17")
@dataclass(frozen=True, kw_only=True)
class Wnut17(PublishedTask):
    """Words to names that are new or rare, in social media (Derczynski et al. 2017).

    Nobody who wrote this had the files, so they must be at hand, under the names they were published by.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Conll.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="WNUT-17 emerging entities",
        folder="wnut17",
        licence="CC BY 4.0 for the annotation; the posts belong to their authors",
        citation=(
            "Derczynski, Nichols, van Erp, Limsopatham: Results of the WNUT2017 Shared Task on Novel and Emerging "
            "Entity Recognition. W-NUT 2017"
        ),
        restricted=True,
    )

    def reader(self, place: Place) -> Conll:
        """Words and tags."""
        names = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
        train, dev, test = map(place, names)
        return Conll(train=train, dev=dev, test=test, comments=False)
