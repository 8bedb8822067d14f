"""Chunks, names and slots in sentences."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from structpred.config import Count
from structpred.downloads import DataSet, Published
from structpred.errors import DataError
from structpred.metrics import Accuracy, ChunkF1, ConllevalF1, Metric
from structpred.reading import Encoding, Line, read_lines
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.published import SHA256, Place, PublishedTask, files, github, warn_of_new_labels, warn_of_shared
from structpred.tasks.reading import place_of, sentence_of, splits_of, tags_of
from structpred.tasks.tagged import Conll, Scheme, to_iob2
from structpred.vocabulary import Symbols

_DEFAULT = "$STRUCTPRED_DATA/conll2000"
_ARCHIVE = github("nltk/nltk_data", "5db857e", "packages/corpora/conll2000.zip")


@tasks.register("conll-2000")
@dataclass(frozen=True, kw_only=True)
class Conll2000(Task):
    """Words to phrase tags: 8,936 and 2,012 sentences of the Wall Street Journal (Tjong Kim Sang and Buchholz 2000).

    The last tenth of the training sentences is dev. Words only: the part-of-speech column is not read. The files are
    those of the shared task, as NLTK gives them out.

    Attributes:
        folder: a folder of one's own that holds ``train.txt.gz`` and ``test.txt.gz``; variables are expanded when it
            is read. At the default they may also be downloaded.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (ChunkF1(), Accuracy(), ConllevalF1())

    origin: ClassVar[DataSet] = DataSet(
        title="CoNLL-2000 chunking",
        folder="conll2000",
        licence="none stated; text of the Wall Street Journal: for research only",
        citation="Tjong Kim Sang, Buchholz: Introduction to the CoNLL-2000 Shared Task: Chunking. CoNLL 2000",
        restricted=True,
        files={
            name: Published(_ARCHIVE, SHA256.get(f"conll2000/{name}"), member=f"conll2000/{name}")
            for name in ("train.txt", "test.txt")
        },
    )

    folder: str = _DEFAULT

    def load(self) -> Splits:
        """Read the files.

        Raises:
            DataError: they are not there and cannot be downloaded, or are damaged.
        """
        if self.folder == _DEFAULT:
            train, test = (str(self.origin.path(name)) for name in ("train.txt", "test.txt"))
            return replace(self._files(), train=train, test=test).load()
        self.origin.warn()
        return self._files().load()

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces.

        Raises:
            DataError: there is none.
        """
        return self._files().parse(text)

    def render(self, output: Symbols) -> str:
        """Tags in IOB2, separated by spaces."""
        return self._files().render(output)

    def _files(self) -> Conll:
        # "#" is a word here, for the pound sign
        return Conll(train=f"{self.folder}/train.txt.gz", test=f"{self.folder}/test.txt.gz", comments=False)


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


@tasks.register("slots")
@dataclass(frozen=True, kw_only=True)
class Slots(Task):
    """Words and slot tags from folders that hold ``seq.in`` and ``seq.out``: a line each, words or tags between spaces.

    A third file, ``label``, names the intent of each line and is not read.

    Attributes:
        train, dev, test: paths of folders. Variables and ``~`` are expanded when they are read, so that a saved
            experiment may say ``$STRUCTPRED_DATA/…`` and mean the same on every machine.
        scheme: how the files write slots; see `to_iob2`.
        longest: number of words a line may have.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (ChunkF1(), Accuracy(), ConllevalF1())

    train: str
    dev: str
    test: str
    scheme: Scheme = "iob2"
    longest: Count = 1000

    def load(self) -> Splits:
        """Read the files.

        Raises:
            DataError: a file cannot be read, or a line has more or fewer tags than words; the message names the file
                and the line.
        """
        train, dev, test = map(self.examples, (self.train, self.dev, self.test))
        splits = splits_of(train=train, dev=dev, test=test)
        warn_of_shared(splits, "sentences")
        warn_of_new_labels(splits)
        return splits

    def examples(self, folder: str) -> list[Example]:
        """The lines of one folder.

        Raises:
            DataError: as `load` does.
        """
        place = place_of(folder)
        words, tags = (
            [(line, f"{place.name}/{where}") for line, where in read_lines(place / name)]
            for name in ("seq.in", "seq.out")
        )
        if len(words) != len(tags):
            raise DataError(
                f"seq.in and seq.out in {place} must have as many lines, but they have {len(words)} and {len(tags)}; "
                "pair them anew"
            )
        return [self._example(*lines) for lines in zip(words, tags, strict=True)]

    def _example(self, words: Line, tags: Line) -> Example:
        source, labels = (tuple(filter(None, line.split(" "))) for line, _ in (words, tags))
        where = words[1]
        if not source or len(source) > self.longest:
            raise DataError(
                f"{where} must have 1 to {self.longest} words, but it has {len(source)}; split it or remove it"
            )
        if len(source) != len(labels):
            raise DataError(
                f"{tags[1]} must have {len(source)} tags, one for each word of {where}, but it has {len(labels)}; pair "
                "the files anew"
            )

        def place(position: int) -> str:
            return f"{tags[1]}, word {position + 1}"

        return Example(source, (to_iob2(tags_of(labels, place), self.scheme, place),), where)

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces.

        Raises:
            DataError: there is none, or there are more than ``longest``.
        """
        return sentence_of(text, self.longest)

    def render(self, output: Symbols) -> str:
        """Tags in IOB2, separated by spaces."""
        return " ".join(output)


_PARTS = ("train", "valid", "test")


@tasks.register("snips")
@dataclass(frozen=True, kw_only=True)
class Snips(PublishedTask):
    """Words to 72 slot tags: 13,084, 700 and 700 commands to a voice assistant (Coucke et al. 2018).

    The split is that of Goo et al. (2018).
    """

    metrics: ClassVar[tuple[Metric, ...]] = Slots.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="Snips commands",
        folder="snips",
        licence="CC0 1.0",
        citation=(
            "Coucke et al.: Snips Voice Platform: an embedded Spoken Language Understanding system for "
            "private-by-design voice interfaces. arXiv 1805.10190; split: Goo et al.: Slot-Gated Modeling for Joint "
            "Slot Filling and Intent Prediction. NAACL 2018"
        ),
        files=files(
            "snips",
            {
                f"{part}/{name}": github("MiuLab/SlotGated-SLU", "61f0307", f"data/snips/{part}/{name}")
                for part in _PARTS
                for name in ("seq.in", "seq.out")
            },
        ),
    )

    def reader(self, place: Place) -> Slots:
        """Words and tags."""
        folders = [{str(Path(place(f"{part}/{name}")).parent) for name in ("seq.in", "seq.out")} for part in _PARTS]
        train, dev, test = (min(folder) for folder in folders)
        return Slots(train=train, dev=dev, test=test)
