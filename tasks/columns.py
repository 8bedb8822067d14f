"""Files of columns, one word a line and a blank line behind each sentence; what was read can be written again."""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from structpred.errors import DataError
from structpred.reading import Encoding, lines_of, read_bytes
from structpred.vocabulary import Symbols


@dataclass(frozen=True)
class Columns:
    """A file of columns.

    A line that holds a tab is split at every tab, any other at runs of spaces. A line of spaces and tabs alone ends a
    sentence, and so does one whose first column is ``-DOCSTART-``.

    Attributes:
        name: what messages call the file.
        content: its bytes, unpacked.
        encoding: how they stand for characters.
        rows: what stands in the columns of each line; nothing in a blank one.
        sentences: the number of the line of each word of each sentence, from 0.
    """

    name: str
    content: bytes
    encoding: Encoding
    rows: tuple[tuple[str, ...], ...]
    sentences: tuple[tuple[int, ...], ...]

    @classmethod
    def read(cls, path: Path, *, comments: bool, encoding: Encoding = "utf-8") -> "Columns":
        """Read a file, unpacked where its name ends in ``.gz``.

        Args:
            path: where it is.
            comments: pass over lines that begin with # in front of a sentence.
            encoding: how its bytes stand for characters.

        Raises:
            DataError: it cannot be read, holds no sentence, or a line has more or fewer columns than the first word's.
        """
        content = read_bytes(path)
        rows = _rows([line for line, _ in lines_of(content, path.name, encoding)])
        file = cls(path.name, content, encoding, rows, tuple(_sentences(rows, comments=comments)))
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


def _rows(lines: list[str]) -> tuple[tuple[str, ...], ...]:
    tabbed = [line.split("\t") if "\t" in line else [column for column in line.split(" ") if column] for line in lines]
    return tuple(tuple(columns) if any(column.strip(" ") for column in columns) else () for columns in tabbed)


_TABBED, _SPACED = re.compile(r"(?<![^\t])[^\t]*"), re.compile(r"[^ ]+")


def _span(line: str, index: int) -> tuple[int, int]:
    """Where a column begins and ends."""
    return [found.span() for found in (_TABBED if "\t" in line else _SPACED).finditer(line)][index]


def _sentences(rows: Sequence[tuple[str, ...]], *, comments: bool) -> Iterator[tuple[int, ...]]:
    sentence: list[int] = []
    for number, columns in enumerate([*rows, ()]):
        if not columns or columns[0] == "-DOCSTART-":
            if sentence:
                yield tuple(sentence)
            sentence = []
        elif sentence or not (comments and columns[0].startswith("#")):
            sentence.append(number)
