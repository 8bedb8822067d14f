"""Files of static word vectors: NumPy, safetensors, and the text and binary forms of word2vec and GloVe."""

import mmap
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from jaxtyping import Float

from structpred.errors import AbsentError, ConfigError, DataError
from structpred.pretrained.library import optional
from structpred.pretrained.places import file_named, sha256
from structpred.reading import unpacked
from structpred.returned import shortened
from structpred.text import counted

Rows = Float[np.ndarray, "words size"]

BOM = b"\xef\xbb\xbf"
"""The byte order mark that some editors put at the beginning of a text in UTF-8."""


class MisreadWordsWarning(UserWarning):
    """Words of a file of vectors are not in UTF-8, or may have swallowed numbers."""


@dataclass(frozen=True)
class WordVectors:
    """The vectors of a file, of which only those that are asked for are read.

    Attributes:
        index: where each word's vector is; of a word that occurs twice, the first.
        size: numbers in a vector.
        take: the vectors at some places.
    """

    index: Mapping[str, int]
    size: int
    take: Callable[[Sequence[int]], Rows]


def word_vectors(path: str, words: str | None) -> WordVectors:
    """Open a file of word vectors; see `structpred.pretrained.Vectors`. The last one stays open.

    Raises:
        DataError: a file is absent or holds something else.
        ConfigError: the list of words is missing, or is not needed.
    """
    place = existing(path, "a file of word vectors")
    listed = None if words is None else existing(words, "a list of words")
    if (listed is None) == (place.suffix in LISTED):
        raise ConfigError(
            f"Vectors.words must name the list of words for {' and '.join(LISTED)} files, and be None for others, but "
            f"with {place.name} it is {words}"
        )
    return _opened(place, sha256(place), listed, None if listed is None else sha256(listed))


def existing(name: str, what: str) -> Path:
    """The file that a text names.

    Raises:
        AbsentError: there is no such file, or it is a folder.
    """
    place = file_named(name)
    if not place.is_file():
        fault = "it is a folder; name a file in it" if place.is_dir() else "there is no such file; check the path"
        raise AbsentError(f"{name} must be {what}, but {fault}")
    return place


@lru_cache(maxsize=1)
def _opened(place: Path, digest: str, words: Path | None, of_words: str | None) -> WordVectors:
    del digest, of_words  # part of the key
    try:
        if words is not None:
            found = _listed(place, words)
        else:
            found = _binary(place) if place.name.removesuffix(".gz").endswith(".bin") else _text(place)
        if not found.index or not found.size:
            raise DataError(
                f"{place} must hold word vectors, but it holds {len(found.index)} words of {found.size} numbers; fetch "
                "it again"
            )
        return found
    except (OSError, ValueError) as error:
        if isinstance(error, DataError | ConfigError):
            raise
        raise DataError(
            f"{place} must hold word vectors, but it cannot be read: {shortened(str(error), 200)}"
        ) from None


# ------------------------------------------------------------------------------------------------ a list of words


def _npy(place: Path) -> Any:
    with place.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":  # NumPy would advise to load pickles
            raise DataError(f"{place} must hold an array of NumPy, but it does not begin as one; fetch it again")
    try:
        return np.load(place, mmap_mode="r", allow_pickle=False)
    except (SyntaxError, TokenError) as error:  # of its header, which is Python
        raise DataError(
            f"{place} must hold an array of NumPy, but its header cannot be read: {shortened(str(error), 200)}"
        ) from None


def _safetensors(place: Path) -> Any:
    safetensors = optional("safetensors")
    try:
        with safetensors.safe_open(place, framework="pt") as file:
            tables = [name for name in file.keys() if len(file.get_slice(name).get_shape()) == 2]  # noqa: SIM118 - no dict
            if len(tables) != 1:
                held = shortened(", ".join(tables)) or "none"
                raise DataError(f"{place} must hold one table of vectors, but it holds {len(tables)}: {held}")
            table = file.get_tensor(tables[0])
            return (table.float() if table.is_floating_point() else table).numpy()  # NumPy knows no bfloat16
    except safetensors.SafetensorError as error:
        raise DataError(f"{place} must be safetensors, but it cannot be read: {error}") from None


LISTED: dict[str, Callable[[Path], Any]] = {".npy": _npy, ".safetensors": _safetensors}


def _listed(place: Path, words: Path) -> WordVectors:
    table = LISTED[place.suffix](place)
    try:
        names = _words_of(words)
    except (OSError, ValueError, LookupError) as error:
        if isinstance(error, ConfigError):
            raise
        raise DataError(
            f"{words} must be a list of words, but it cannot be read: {shortened(str(error), 200)}"
        ) from None
    if not any(names):
        raise DataError(f"{words} must be a list of words, but it is empty")
    if table.ndim != 2 or table.dtype.kind != "f" or len(table) != len(names):
        raise DataError(
            f"{place} must hold a row of real numbers for each of the {len(names)} words of {words}, but it holds "
            f"{table.dtype} {table.shape}"
        )
    return WordVectors(_index(names), table.shape[1], lambda rows: np.asarray(table[list(rows)], np.float32))


def _words_of(place: Path) -> list[str]:
    """A word on each line, or the first column of a Parquet file."""
    if place.suffix == ".parquet":
        try:
            parquet = optional("pyarrow.parquet")
        except ConfigError as error:
            raise ConfigError(f"{place.name} needs a package that is not installed: pip install pyarrow") from error
        return [str(word) for word in parquet.read_table(place).column(0).to_pylist()]
    return place.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")


def _index(words: Iterable[str]) -> dict[str, int]:
    index: dict[str, int] = {}
    for place, word in enumerate(words):
        index.setdefault(word, place)
    return index


# --------------------------------------------------------------------------------------------- words and numbers


def _text(place: Path) -> WordVectors:
    """Of GloVe, or of word2vec and fastText, which begin with a line of two numbers; packed if it ends in ``.gz``."""
    content = _content(place)
    begin = len(BOM) if content[: len(BOM)] == BOM else 0
    first, start = _line(content, begin)
    header, count = first.split(), 0
    size = len(header) - 1
    if len(header) == 2 and all(part.isdigit() for part in header):
        count, size = int(header[0]), int(header[1])
    else:
        start = begin
    if size < 1:
        raise DataError(f"{place} line 1 must be a word and its numbers, or their counts, but it is {first[:40]!r}")
    opening = _line(content, start)[0]
    _numbers(place, opening, size)  # a file of something else is refused before anything is looked up
    if _ends_in_number(opening.rsplit(None, size)[0]):
        raise DataError(
            f"{place} must have a word and {size} numbers in every line, but the first has more numbers: "
            f"{opening[:60]!r}; correct the counts in front of it"
        )
    index: dict[str, int] = {}
    lines = strange = 0
    wide: list[str] = []
    for begin, line in _lines(content, start):
        parts = line.rsplit(None, size)
        if parts:
            word, known = _decoded(parts[0])
            index.setdefault(word, begin)
            lines, strange = lines + 1, strange + (not known)
            if _ends_in_number(parts[0]):
                wide.append(word)
    _warn_of_strange(place, strange, lines)
    if wide:  # "windows 95" is a phrase that has a vector in some files
        warnings.warn(
            f"{place} has {counted(len(wide), 'word')} with a number behind a space, such as {wide[0][:40]!r}; if that "
            "belongs to the vector, the line has too many numbers and the word will not be found",
            MisreadWordsWarning,
            stacklevel=2,
        )
    if lines < count:
        raise DataError(
            f"{place} must hold {count} words, as its first line says, but it holds {lines}; fetch it again, or "
            "correct the line"
        )

    def take(places: Sequence[int]) -> Rows:
        return _stacked([_numbers(place, _line(content, begin)[0], size) for begin in places], size)

    return WordVectors(index, size, take)


def _numbers(place: Path, line: bytes, size: int) -> Float[np.ndarray, " size"]:
    try:
        parts = line.rsplit(None, size)
        if len(parts) != size + 1:
            raise ValueError
        return np.array([float(part) for part in parts[1:]], np.float32)
    except (ValueError, OverflowError):
        raise DataError(
            f"{place} must have a word and {size} numbers in every line, but one is {line[:60]!r}; fetch it again"
        ) from None


def _binary(place: Path) -> WordVectors:
    """Of word2vec: the counts on a line, then each word's text, a space, its numbers and perhaps a line feed.

    Packed if it ends in ``.gz``.
    """
    content = _content(place)
    first, begin = _line(content, 0)
    header = first.split()
    if len(header) != 2 or not all(part.isdigit() for part in header):
        raise DataError(f"{place} must begin with the counts of words and numbers, but it begins with {first[:40]!r}")
    count, size = int(header[0]), int(header[1])
    index: dict[str, int] = {}
    strange = 0
    for number in range(count):
        space = content.find(b" ", begin)
        begin, word = space + 1 + 4 * size, content[begin:space].lstrip(b"\n")
        if space < 0 or begin > len(content):
            raise DataError(f"{place} must hold {count} words of {size} numbers, but it ends in word {number + 1}")
        if b"\n" in word or b"\0" in word:
            raise DataError(
                f"{place} must hold words and {size} numbers of 32 bits each, but word {number + 1} is {word[:20]!r}; "
                "its numbers have another form, or it is a text, which must not be called .bin"
            )
        decoded, known = _decoded(word)
        index.setdefault(decoded, space + 1)
        strange += not known
    if content[begin:].strip():
        raise DataError(
            f"{place} must hold {count} words of {size} numbers of 32 bits each, but more follows; fetch it again"
        )
    _warn_of_strange(place, strange, count)

    def take(places: Sequence[int]) -> Rows:
        return _stacked([np.frombuffer(content[each : each + 4 * size], "<f4") for each in places], size)

    return WordVectors(index, size, take)


def _ends_in_number(word: bytes) -> bool:
    """Whether there is a number behind a space."""
    *before, last = word.split()
    if not before:
        return False
    try:
        float(last)
    except ValueError:
        return False
    return True


def _decoded(word: bytes) -> tuple[str, bool]:
    """A word, and whether it is UTF-8."""
    try:
        return word.decode(), True
    except UnicodeDecodeError:
        return word.decode("utf-8", "replace"), False


def _warn_of_strange(place: Path, strange: int, words: int) -> None:
    if strange:
        warnings.warn(
            f"{place} must hold words in UTF-8, but {counted(strange, 'word')} of {words} are in another encoding and "
            "will not be found; convert the file if they matter",
            MisreadWordsWarning,
            stacklevel=2,
        )


def _stacked(rows: Sequence[Float[np.ndarray, " size"]], size: int) -> Rows:
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, size), np.float32)


def _content(place: Path) -> Any:
    """The bytes of a file; in memory only if it is packed."""
    if not place.stat().st_size:
        raise DataError(f"{place} must hold word vectors, but it is empty")
    with place.open("rb") as stream:
        if place.suffix == ".gz":
            return unpacked(stream, place, sys.maxsize)
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _line(content: Any, begin: int) -> tuple[bytes, int]:
    """The line that begins there, and where the next begins."""
    end = content.find(b"\n", begin)
    end = len(content) if end < 0 else end
    return content[begin:end], end + 1


def _lines(content: Any, begin: int) -> Iterator[tuple[int, bytes]]:
    while begin < len(content):
        line, after = _line(content, begin)
        yield begin, line
        begin = after
