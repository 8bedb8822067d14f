"""Chunks, names and slots in sentences."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import DataError
from structpred.metrics import Accuracy, ChunkF1, ConllevalF1, Metric
from structpred.reading import Encoding, Line, place_of, read_lines
from structpred.registry import tasks
from structpred.task import Example
from structpred.tasks.published import SETS, Place, PublishedTask
from structpred.tasks.reading import tags_of
from structpred.tasks.schemes import Scheme, to_iob2
from structpred.tasks.tagged import Conll, TaggedSentences

_DEFAULT = "$STRUCTPRED_DATA/conll2000"


@tasks.register("conll-2000")
@dataclass(frozen=True, kw_only=True)
class Conll2000(PublishedTask):
    """Words to phrase tags: 8,936 and 2,012 sentences of the Wall Street Journal (Tjong Kim Sang and Buchholz 2000).

    The last tenth of the training sentences is dev. The files are the shared task's, as NLTK distributes them.

    Attributes:
        part_of_speech: input symbols hold the tags of the second column too, which Brill's tagger gave: ``walks￨VBZ``;
            see `structpred.models.Column`. Else they are words only.
        folder: your own folder with ``train.txt.gz`` and ``test.txt.gz``; variables are expanded when it
            is read. At the default they may also be downloaded.
    """

    identity_optional: ClassVar[tuple[str, ...]] = ("part_of_speech",)
    metrics: ClassVar[tuple[Metric, ...]] = (ChunkF1(), Accuracy(), ConllevalF1())
    origin: ClassVar[DataSet] = SETS["conll2000"]

    part_of_speech: bool = False
    folder: str = _DEFAULT

    def reader(self, place: Place) -> Conll:
        """Words, with their parts of speech where they are asked for, and tags; "#" is the pound sign, a word here."""
        return Conll(**self.parts(place), comments=False, beside=(1,) if self.part_of_speech else ())

    def place(self, name: str) -> str:
        """The path of a file, in the folder that is named or where `DataSet` finds it.

        Raises:
            DataError: it cannot be found or downloaded.
        """
        if self.folder == _DEFAULT:
            return super().place(name)
        self.origin.warn()
        return f"{self.folder}/{name}.gz"


@tasks.register("ncbi-disease")
@dataclass(frozen=True, kw_only=True)
class NcbiDisease(PublishedTask):
    """Words to mentions of diseases: 5,432, 923 and 940 sentences of PubMed abstracts (Doğan, Leaman and Lu 2014)."""

    metrics: ClassVar[tuple[Metric, ...]] = Conll.metrics
    origin: ClassVar[DataSet] = SETS["ncbi_disease"]

    def reader(self, place: Place) -> Conll:
        """Words and tags."""
        return Conll(**self.parts(place), comments=False)


@tasks.register("conll-2002")
@dataclass(frozen=True, kw_only=True)
class Conll2002(PublishedTask):
    """Words to names of persons, organisations, places and others in newspapers (Tjong Kim Sang 2002).

    No checksums are known, so the files are not downloaded: provide ``esp.train``, ``esp.testa`` and ``esp.testb``, or
    the same of ``ned``. The shared task's own are in Latin-1.

    Attributes:
        language: ``"esp"``, Spanish, or ``"ned"``, Dutch.
        encoding: how the files' bytes stand for characters.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Conll.metrics
    origin: ClassVar[DataSet] = SETS["conll2002"]

    language: Literal["esp", "ned"]
    encoding: Encoding = "utf-8"

    def reader(self, place: Place) -> Conll:
        """Words and tags."""
        return Conll(**self.parts(place), comments=False, encoding=self.encoding)


@tasks.register("wnut-17")
@dataclass(frozen=True, kw_only=True)
class Wnut17(PublishedTask):
    """Words to names that are new or rare, in social media (Derczynski et al. 2017).

    No checksums are known, so the files are not downloaded: provide them under the names they were published by.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Conll.metrics
    origin: ClassVar[DataSet] = SETS["wnut17"]

    def reader(self, place: Place) -> Conll:
        """Words and tags."""
        return Conll(**self.parts(place), comments=False)


@tasks.register("slots")
@dataclass(frozen=True, kw_only=True)
class Slots(TaggedSentences):
    """Words and slot tags from folders that hold ``seq.in`` and ``seq.out``: a line each, words or tags between spaces.

    A third file, ``label``, names the intent of each line and is not read.

    Attributes:
        train, dev, test: paths of folders; see `TaggedSentences`.
        scheme: how the files write slots; see `to_iob2`.
    """

    dev: str
    scheme: Scheme = "iob2"

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


_PARTS = ("train", "valid", "test")


@tasks.register("snips")
@dataclass(frozen=True, kw_only=True)
class Snips(PublishedTask):
    """Words to 72 slot tags: 13,084, 700 and 700 commands to a voice assistant (Coucke et al. 2018).

    The split is that of Goo et al. (2018).
    """

    metrics: ClassVar[tuple[Metric, ...]] = Slots.metrics
    origin: ClassVar[DataSet] = SETS["snips"]

    def reader(self, place: Place) -> Slots:
        """Words and tags."""
        folders = [{str(Path(place(f"{part}/{name}")).parent) for name in ("seq.in", "seq.out")} for part in _PARTS]
        train, dev, test = (min(folder) for folder in folders)
        return Slots(train=train, dev=dev, test=test)
