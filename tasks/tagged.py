"""Sentences with a tag for every word, from files in columns."""

import codecs
import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from structpred.errors import DataError
from structpred.metrics import Accuracy, ChunkF1, ConllevalF1, Metric
from structpred.reading import Encoding, lines_of, place_of, read_bytes
from structpred.registry import tasks
from structpred.task import Example, Splits, Task
from structpred.tasks.published import warn_of_new_labels, warn_of_shared
from structpred.tasks.reading import sentence_of, splits_of, tags_of
from structpred.tasks.schemes import Scheme, from_iob2, is_tag, to_iob2
from structpred.values import Count
from structpred.vocabulary import COLUMN_MARK, Symbols

Row = tuple[str, ...]
"""What stands in the columns of a line; nothing in a blank one."""

Comment = Callable[[Row], bool]
"""Whether a line that begins with # in front of a sentence, and has as many columns as the others, is a comment."""


@dataclass(frozen=True)
class Columns:
    """A file of columns.

    A line that holds a tab is split at every tab, any other at runs of spaces; spaces around a column are dropped. A
    line of spaces and tabs alone ends a sentence, and so does one whose first column is ``-DOCSTART-``.

    A line that begins with # in front of a sentence is a comment where it has more or fewer columns than other lines;
    a line without a tab has one column where theirs are between tabs.

    Attributes:
        name: what messages call the file.
        content: its bytes, unpacked.
        encoding: how they stand for characters.
        rows: what stands in the columns of each line.
        sentences: the number of the line of each word of each sentence, from 0.
        doubtful: the number of each line that may be a comment or a word: it begins with # in front of a sentence and
            has as many columns as the others, between spaces.
    """

    name: str
    content: bytes
    encoding: Encoding
    rows: tuple[Row, ...]
    sentences: tuple[tuple[int, ...], ...]
    doubtful: tuple[int, ...]

    @classmethod
    def read(cls, path: Path, *, comments: Comment | bool, encoding: Encoding = "utf-8") -> "Columns":
        """Read a file, unpacked where its name ends in ``.gz``.

        Args:
            path: where it is.
            comments: what lines that begin with # in front of a sentence are: False, all words; True, all comments; or
                what says it of one that has as many columns as the others.
            encoding: how its bytes stand for characters.

        Raises:
            DataError: it cannot be read, holds no sentence, or a line has more or fewer columns than the first word's.
        """
        content = read_bytes(path)
        lines = [line for line, _ in lines_of(content, path.name, encoding)]
        rows = tuple(map(_row, lines))
        passed_over, doubtful = _comments(lines, rows, comments)
        file = cls(path.name, content, encoding, rows, tuple(_sentences(rows, passed_over)), doubtful)
        if not file.sentences:
            raise DataError(f"{path.name} must hold at least one sentence, but it has none; check the file")
        width = file.width
        for number in (number for sentence in file.sentences for number in sentence):
            if (found := len(rows[number])) != width:
                raise DataError(
                    f"{file.where(number)} must have {width} columns, like the first word of the file, but it has "
                    f"{found}; separate columns by one tab or by spaces, sentences by a blank line"
                )
        return file

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[self.sentences[0][0]])

    def where(self, line: int) -> str:
        """Where a line stands, for messages."""
        return f"{self.name} line {line + 1}"

    def column(self, index: int) -> list[Symbols]:
        """What stands in one column, sentence by sentence; −1 is the last.

        Raises:
            DataError: there is no such column, or nothing stands in it.
        """
        if not -self.width <= index < self.width:
            raise DataError(
                f"{self.name} must have a column {index}, but it has {self.width}, counted from 0; name another column"
            )
        found = [tuple(self.rows[number][index] for number in sentence) for sentence in self.sentences]
        for sentence, values in zip(self.sentences, found, strict=True):
            if "" in values:
                empty = self.where(sentence[values.index("")])
                raise DataError(f"{empty} must hold something in column {index}, but it is empty; fill it in")
        return found

    def replaced(self, index: int, values: Sequence[Symbols | None]) -> bytes:
        """The file's bytes with other values in one column and everything else as it stands.

        Args:
            index: the column.
            values: for each sentence one value a word, or None to leave the sentence alone.

        Raises:
            ValueError: there are more or fewer than the file has.
        """
        mark = codecs.BOM_UTF8 if self.content.startswith(codecs.BOM_UTF8) else b""
        lines = self.content.removeprefix(mark).decode(self.encoding).split("\n")
        for sentence, replacements in zip(self.sentences, values, strict=True):
            for number, value in zip(sentence, replacements or (), strict=replacements is not None):
                start, end = _span(lines[number].removesuffix("\r"), index)
                lines[number] = f"{lines[number][:start]}{value}{lines[number][end:]}"
        return mark + "\n".join(lines).encode(self.encoding)


def _row(line: str) -> Row:
    columns = line.split("\t") if "\t" in line else [column for column in line.split(" ") if column]
    row = tuple(column.strip(" ") for column in columns)
    return row if any(row) else ()


_TABBED, _SPACED = re.compile(r"(?<![^\t])[^\t]*"), re.compile(r"[^ ]+")


def _span(line: str, index: int) -> tuple[int, int]:
    """Where what stands in a column begins and ends."""
    found = [found.span() for found in (_TABBED if "\t" in line else _SPACED).finditer(line)]
    start, end = found[index]
    column = line[start:end]
    return start + len(column) - len(column.lstrip(" ")), end - (len(column) - len(column.rstrip(" ")))


def _ends(row: Row) -> bool:
    return not row or row[0] == "-DOCSTART-"


def _comments(
    lines: Sequence[str], rows: Sequence[Row], comments: Comment | bool
) -> tuple[frozenset[int], tuple[int, ...]]:
    """Lines that are comments, and lines that may be comments."""
    if comments is False:
        return frozenset(), ()
    hashed = list(_hashed(rows))
    if comments is True:
        return frozenset(hashed), ()
    others = set(range(len(rows))) - set(hashed)
    model = next((number for number in (*sorted(others), *hashed) if not _ends(rows[number])), None)
    if model is None:
        return frozenset(), ()
    tabs, width = "\t" in lines[model], len(rows[model])
    alike = [number for number in hashed if ("\t" in lines[number]) == tabs and len(rows[number]) == width]
    told = () if tabs else tuple(alike)  # no comment has tabs in the right places
    return frozenset(hashed) - {number for number in alike if tabs or not comments(rows[number])}, told


def _hashed(rows: Sequence[Row]) -> Iterator[int]:
    """Lines that begin with #, in front of the first line of a sentence that does not, or are all of it."""
    inside = False
    for number, row in enumerate(rows):
        if _ends(row):
            inside = False
        elif not inside and row[0].startswith("#"):
            yield number
        else:
            inside = True


def _sentences(rows: Sequence[Row], passed_over: frozenset[int]) -> Iterator[tuple[int, ...]]:
    sentence: list[int] = []
    for number, row in enumerate([*rows, ()]):
        if _ends(row):
            if sentence:
                yield tuple(sentence)
            sentence = []
        elif number not in passed_over:
            sentence.append(number)


class CommentWarning(UserWarning):
    """Lines of a file may be comments or words."""


@dataclass(frozen=True, kw_only=True)
class TaggedSentences(Task):
    """Sentences with one tag for each word, from files; a subclass says how a file looks.

    Warnings say how many sentences of dev and test are in the training data too, and which tags training never sees.

    Attributes:
        train, dev, test: paths. Variables and ``~`` are expanded when they are read, so that a saved experiment may
            say ``$STRUCTPRED_DATA/…`` and mean the same on every machine.
        longest: number of words a sentence may have.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (ChunkF1(), Accuracy(), ConllevalF1())

    train: str
    dev: str | None
    test: str
    longest: Count = 1000

    @abstractmethod
    def examples(self, path: str) -> list[Example]:
        """The sentences of one path.

        Raises:
            DataError: it cannot be read, or a line is not what it must be; the message names the file and the line.
        """

    def split(self) -> Splits:
        """The sentences of all parts; without a path for dev it is the last tenth of the training sentences.

        Raises:
            DataError: as `examples` does, or there are too few sentences to hold some out.
        """
        train, test = self.examples(self.train), self.examples(self.test)
        if self.dev is not None:
            return splits_of(train=train, dev=self.examples(self.dev), test=test)
        held_out = len(train) // 10
        if not held_out:
            raise DataError(
                f"{self.train} must have at least 10 sentences, so that a tenth can be held out for dev, but it has "
                f"{len(train)}; name a file for dev"
            )
        return splits_of(train=train[:-held_out], dev=train[-held_out:], test=test)

    def load(self) -> Splits:
        """Read the files.

        Raises:
            DataError: as `split` does.
        """
        splits = self.split()
        warn_of_shared(splits, "sentences")
        warn_of_new_labels(splits)
        return splits

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces.

        Raises:
            DataError: there is none, or there are more than ``longest``.
        """
        return sentence_of(text, self.longest)

    def render(self, output: Symbols) -> str:
        """Tags separated by spaces; chunk tags in IOB2."""
        return " ".join(output)


@tasks.register("conll")
@dataclass(frozen=True, kw_only=True)
class Conll(TaggedSentences):
    """Words and chunk tags from files of columns, plain or gzipped; see `Columns` for what a file looks like.

    Tags become IOB2, so that labels and scores do not depend on how a file writes its chunks. `TaggedSentences`
    describes the other fields.

    Attributes:
        dev: a path, or None to hold out the last tenth of the training sentences.
        word, label: the columns of a word and of its tag, from 0, or from −1 at the end backwards.
        beside: further columns, such as parts of speech, that input symbols hold behind the word: ``walks￨VBZ``. The
            encoder `structpred.models.Column` reads one of them.
        scheme: how the files write chunks; see `to_iob2`.
        comments: pass over comments: lines that begin with # in front of a sentence and have more or fewer columns
            than the others. False where there are none.
        hash_lines: what such a line is that has as many columns as the others, between spaces: ``"words"`` or
            ``"comments"``. None takes it for a word if it has a tag, and warns.
        encoding: how the files' bytes stand for characters.
    """

    identity_optional: ClassVar[tuple[str, ...]] = ("beside", "encoding", "hash_lines")

    dev: str | None = None
    word: int = 0
    label: int = -1
    beside: tuple[int, ...] = ()
    scheme: Scheme = "iob2"
    comments: bool = True
    encoding: Encoding = "utf-8"
    hash_lines: Literal["words", "comments"] | None = None

    def examples(self, path: str) -> list[Example]:
        """The sentences of one file.

        Raises:
            DataError: as `load` does.
        """
        file = self._file(path)
        if file.doubtful and self.hash_lines is None:
            _warn_of_doubtful(file)
        examples = []
        for words, labels, lines in zip(self._inputs(file), self._labels(file), file.sentences, strict=True):
            if len(words) > self.longest:
                raise DataError(
                    f"{file.where(lines[0])}: a sentence must have at most {self.longest} words, but here begins one "
                    f"of {len(words)}; end sentences with a blank line or raise Conll.longest"
                )
            examples.append(Example(words, (labels,), file.where(lines[0])))
        return examples

    def parse(self, text: str) -> Symbols:
        """Words separated by spaces, each with its further columns behind ￨ where there are some.

        Raises:
            DataError: as `TaggedSentences.parse` does, or a word has more or fewer columns.
        """
        words = super().parse(text)
        width = 1 + len(self.beside)
        for word in words if self.beside else ():
            columns = word.split(COLUMN_MARK)
            if len(columns) != width or "" in columns:
                raise DataError(
                    f"every word must have {width} columns with {COLUMN_MARK!r} between them, none of them empty, but "
                    f"one is {word!r:.80}; write the columns that Conll.beside names behind each word"
                )
        return words

    def written(self, path: str, outputs: Sequence[Symbols]) -> bytes:
        """A file with other tags: those that differ are written in the file's scheme, all else stays as it is.

        Args:
            path: the file that the sentences come from.
            outputs: tags in IOB2, sentence by sentence.

        Raises:
            DataError: as `load` does, or there are more or fewer tags than words.
        """
        file = self._file(path)
        lengths = [len(sentence) for sentence in file.sentences]
        if [len(output) for output in outputs] != lengths:
            raise DataError(
                f"{path}: expected tags for its {len(lengths)} sentences, one a word and in their order, but got "
                f"{len(outputs)} outputs, or some of another length; predict the tags of this very file"
            )
        pairs = zip(self._labels(file), outputs, strict=True)
        return file.replaced(
            self.label, [None if labels == output else from_iob2(output, self.scheme) for labels, output in pairs]
        )

    def _file(self, path: str) -> Columns:
        comments = self._is_comment if self.comments else False
        return Columns.read(place_of(path), comments=comments, encoding=self.encoding)

    def _is_comment(self, row: Row) -> bool:
        """Whether a line with # in front and as many columns as the others is one."""
        if self.hash_lines is not None:
            return self.hash_lines == "comments"
        within = -len(row) <= self.label < len(row)
        return within and not is_tag(row[self.label], self.scheme)

    def _inputs(self, file: Columns) -> list[Symbols]:
        """Words, joined with the columns beside them."""
        if not self.beside:
            return file.column(self.word)
        columns = [file.column(index) for index in (self.word, *self.beside)]
        if self.label % file.width in {index % file.width for index in self.beside}:
            raise DataError(
                f"Conll.beside must name columns of the input, but {self.beside} has that of the labels of "
                f"{file.name}, which the model would read; leave it out"
            )
        joined = [list(zip(*rows, strict=True)) for rows in zip(*columns, strict=True)]
        for lines, rows in zip(file.sentences, joined, strict=True):
            for line, row in zip(lines, rows, strict=True):
                if any(COLUMN_MARK in value for value in row):
                    raise DataError(
                        f"{file.where(line)} must not hold {COLUMN_MARK!r}, which stands between the columns of an "
                        "input; write another character, or leave out Conll.beside"
                    )
        return [tuple(map(COLUMN_MARK.join, rows)) for rows in joined]

    def _labels(self, file: Columns) -> list[Symbols]:
        def place(lines: tuple[int, ...], position: int) -> str:
            return file.where(lines[position])

        tagged = zip(file.column(self.label), file.sentences, strict=True)
        places = [(tags, partial(place, lines)) for tags, lines in tagged]
        return [to_iob2(tags_of(tags, where), self.scheme, where) for tags, where in places]


def _warn_of_doubtful(file: Columns) -> None:
    read = {number for sentence in file.sentences for number in sentence}
    words = len(read.intersection(file.doubtful))
    warnings.warn(
        f"{file.where(file.doubtful[0])}: {len(file.doubtful)} lines in front of sentences begin with # and have as "
        f"many columns as the others, so that they may be words or comments: {words} with a tag are read as words, "
        f"{len(file.doubtful) - words} without are passed over; set Conll.hash_lines to 'words' or 'comments'",
        CommentWarning,
        stacklevel=2,
    )
