"""Files of columns, one word a line and a blank line behind each sentence; what was read can be written again."""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from structpred.errors import DataError
from structpred.reading import Encoding, lines_of, read_bytes
from structpred.vocabulary import Symbols

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
    """Lines that are comments, and those of which it is not certain whether they are."""
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
    told = () if tabs else tuple(alike)  # nobody writes comments with tabs in the right places
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
