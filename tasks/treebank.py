"""Parts of speech from files in CoNLL-U."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.config import Count
from structpred.downloads import DataSet
from structpred.errors import DataError
from structpred.metrics import Accuracy, Metric, UnknownAccuracy
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.published import Place, PublishedTask, files, github, warn_of_new_labels, warn_of_shared
from structpred.tasks.reading import place_of, sentence_of, splits_of, tags_of, with_unknown
from structpred.tasks.tagged import Columns
from structpred.vocabulary import Symbols

Tag = Literal["upos", "xpos"]

_COLUMN: dict[Tag, int] = {"upos": 3, "xpos": 4}
_PASSED_OVER = re.compile(r"[0-9]+[-.][0-9]+")


@tasks.register("conllu")
@dataclass(frozen=True, kw_only=True)
class Conllu(Task):
    """Syntactic words and their part-of-speech tags from CoNLL-U files, plain or packed by gzip.

    A file has ten columns between tabs. Only syntactic words are read, numbered 1, 2, … in each sentence: the surface
    form of a multiword token (``4-5``) and an empty node (``8.1``) have no tag of their own and are passed over.

    Attributes:
        train, dev, test: paths. Variables and ``~`` are expanded when they are read, so that a saved experiment may
            say ``$STRUCTPRED_DATA/…`` and mean the same on every machine.
        tag: ``"upos"``, the universal tags, or ``"xpos"``, the treebank's own.
        longest: number of words a sentence may have.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Accuracy(), UnknownAccuracy())

    train: str
    dev: str
    test: str
    tag: Tag = "upos"
    longest: Count = 1000

    def load(self) -> Splits:
        """Read the files.

        Raises:
            DataError: a file cannot be read or a line is not what it must be; the message names the file and the line.
        """
        train, dev, test = map(self.examples, (self.train, self.dev, self.test))
        splits = with_unknown(splits_of(train=train, dev=dev, test=test))
        warn_of_shared(splits, "sentences")
        warn_of_new_labels(splits)
        return splits

    def examples(self, path: str) -> list[Example]:
        """The sentences of one file.

        Raises:
            DataError: as `load` does.
        """
        file = Columns.read(place_of(path), comments=True)
        if file.width != 10:
            raise DataError(
                f"{file.where(file.sentences[0][0])} must have the 10 columns of CoNLL-U, but it has {file.width}; "
                "separate them by tabs"
            )
        return [self._example(file, tuple(_words(file, sentence))) for sentence in file.sentences]

    def _example(self, file: Columns, lines: tuple[int, ...]) -> Example:
        if len(lines) > self.longest:
            raise DataError(
                f"{file.where(lines[0])}: a sentence must have at most {self.longest} words, but here begins one of "
                f"{len(lines)}; end sentences with a blank line or raise Conllu.longest"
            )
        words, labels = (tuple(file.rows[line][column] for line in lines) for column in (1, _COLUMN[self.tag]))
        for line, word, label in zip(lines, words, labels, strict=True):
            if not word or label in ("", "_"):
                raise DataError(
                    f"{file.where(line)} must have a word and its {self.tag.upper()}, but they are {word!r} and "
                    f"{label!r}; fill them in or read another tag"
                )
        return Example(words, (tags_of(labels, lambda position: file.where(lines[position])),), file.where(lines[0]))

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces.

        Raises:
            DataError: there is none, or there are more than ``longest``.
        """
        return sentence_of(text, self.longest)

    def render(self, output: Symbols) -> str:
        """Tags separated by spaces."""
        return " ".join(output)


def _words(file: Columns, sentence: tuple[int, ...]) -> Iterator[int]:
    """The lines of a sentence that are syntactic words."""
    expected = 1
    for line in sentence:
        number = file.rows[line][0]
        if number == str(expected):
            expected += 1
            yield line
        elif not _PASSED_OVER.fullmatch(number):
            raise DataError(
                f"{file.where(line)} must be word {expected} of its sentence, a range of words such as 4-5 or an empty "
                f"node such as 8.1, but it has the number {number!r}; mend the file"
            )
    if expected == 1:
        raise DataError(f"{file.where(sentence[0])}: a sentence must have a word, but here is one without; remove it")


_NAMES = tuple(f"en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test"))


@tasks.register("ud-english-ewt")
@dataclass(frozen=True, kw_only=True)
class EnglishWebTreebank(PublishedTask):
    """Words to part-of-speech tags: 12,544, 2,001 and 2,077 sentences of web text (UD English-EWT).

    Attributes:
        tag: ``"upos"``, the 17 universal tags, or ``"xpos"``, those of the Penn Treebank.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Conllu.metrics
    origin: ClassVar[DataSet] = DataSet(
        title="Universal Dependencies English-EWT",
        folder="ud_english_ewt",
        licence="CC BY-SA 4.0: name the source and share changes alike",
        citation="Silveira et al.: A Gold Standard Dependency Corpus for English. LREC 2014",
        files=files(
            "ud_english_ewt",
            {name: github("UniversalDependencies/UD_English-EWT", "15d613d", name) for name in _NAMES},
        ),
    )

    tag: Tag = "upos"

    def reader(self, place: Place) -> Conllu:
        """Words and tags."""
        train, dev, test = map(place, _NAMES)
        return Conllu(train=train, dev=dev, test=test, tag=self.tag)
