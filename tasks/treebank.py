"""Parts of speech from files in CoNLL-U."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.downloads import DataSet
from structpred.errors import DataError
from structpred.metrics import Accuracy, Metric, UnknownAccuracy
from structpred.reading import place_of
from structpred.registry import tasks
from structpred.task import Example, Splits
from structpred.tasks.published import SETS, Place, PublishedTask
from structpred.tasks.reading import tags_of, with_unknown
from structpred.tasks.tagged import Columns, TaggedSentences

Tag = Literal["upos", "xpos"]

_COLUMN: dict[Tag, int] = {"upos": 3, "xpos": 4}
_PASSED_OVER = re.compile(r"[0-9]+[-.][0-9]+")


@tasks.register("conllu")
@dataclass(frozen=True, kw_only=True)
class Conllu(TaggedSentences):
    """Syntactic words and their part-of-speech tags from CoNLL-U files, plain or gzipped.

    A file has ten columns between tabs. Only syntactic words are read, numbered 1, 2, … in each sentence: the surface
    form of a multiword token (``4-5``) and an empty node (``8.1``) have no tag of their own and are passed over.
    The other fields are those of `TaggedSentences`.

    Attributes:
        tag: ``"upos"``, the universal tags, or ``"xpos"``, the treebank's own.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Accuracy(), UnknownAccuracy())

    dev: str
    tag: Tag = "upos"

    def split(self) -> Splits:
        """As `TaggedSentences.split`; dev and test say which of their words are new."""
        return with_unknown(super().split())

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
                f"node such as 8.1, but it has the number {number!r}; correct the file"
            )
    if expected == 1:
        raise DataError(f"{file.where(sentence[0])}: a sentence must have a word, but here is one without; remove it")


@tasks.register("ud-english-ewt")
@dataclass(frozen=True, kw_only=True)
class EnglishWebTreebank(PublishedTask):
    """Words to part-of-speech tags: 12,544, 2,001 and 2,077 sentences of web text (UD English-EWT).

    Attributes:
        tag: ``"upos"``, the 17 universal tags, or ``"xpos"``, those of the Penn Treebank.
    """

    metrics: ClassVar[tuple[Metric, ...]] = Conllu.metrics
    origin: ClassVar[DataSet] = SETS["ud_english_ewt"]

    tag: Tag = "upos"

    def reader(self, place: Place) -> Conllu:
        """Words and tags."""
        return Conllu(**self.parts(place), tag=self.tag)
