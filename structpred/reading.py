"""Read text files line by line, with errors that name file and line."""

import codecs
import gzip
import hashlib
import lzma
import os.path
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, Literal

from structpred.errors import DataError

LARGEST = 256 * 2**20
"""Maximum bytes of an unpacked text file; as lines and symbols in memory it takes about fifty times as much."""

PACKED_RATIO, PACKED_LEAST = 100, 2**20
"""A packed file may unpack to this multiple of its size, or to this many bytes: text does not pack better."""

GZIP = b"\x1f\x8b"
"""The first bytes of every gzip file."""

Encoding = Literal["utf-8", "latin-1", "cp1252"]
"""Supported encodings. In all of them a line feed is the byte 10, so that lines can be counted."""

_READ: ContextVar[dict[Path, str] | None] = ContextVar("read", default=None)


@contextmanager
def noting_files() -> Iterator[dict[Path, str]]:
    """Note which files are read within the block, each with the SHA-256 of its bytes, in the order of reading."""
    found: dict[Path, str] = {}
    token = _READ.set(found)
    try:
        yield found
    finally:
        _READ.reset(token)


def note_file(path: Path) -> None:
    """Note that a file is read, where that is asked for; for files that are read by other means than this module's.

    What is no regular file, such as a pipe, is not noted: it can be read only once.
    """
    if (found := _READ.get()) is not None and path not in found and path.is_file():
        with path.open("rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()


Line = tuple[str, str]
"""The text of a line, and its place for messages."""


def place_of(path: str) -> Path:
    """A path with ``~`` and variables expanded.

    Raises:
        DataError: it is empty, or begins with a variable that is not set or with the folder of a user who does not
            exist.
    """
    if not path.strip():
        raise DataError(f"the path of a file must not be empty, but got {path!r}; name a file")
    expanded = os.path.expandvars(path)
    if unset := re.match(r"\$\{?(\w+)", expanded):
        raise DataError(
            f"{path} must be a path, but the variable {unset[1]} is not set; set ${unset[1]} to the folder that holds "
            "the data"
        )
    try:
        return Path(expanded).expanduser()
    except RuntimeError:
        raise DataError(f"{path} must be a path, but there is no such user as {Path(expanded).parts[0]}") from None


def read_lines(path: str | Path, encoding: Encoding = "utf-8") -> list[Line]:
    """The lines of a text file, each with its place, such as ``"fre_dev.tsv line 17"``.

    A file named ``*.gz`` is unpacked in memory, up to the limits of `LARGEST` and `PACKED_RATIO`. Lines end at LF or
    CRLF only (U+0085 and U+2028 are ordinary characters). A byte-order mark and empty lines
    at the end of the file are dropped; other empty lines are kept.

    Raises:
        DataError: the file cannot be read or unpacked, is too large, is not in the encoding, holds a NUL, a lone
            carriage return or a byte-order mark at the start of another line, or has no line.
    """
    path = Path(path)
    return lines_of(read_bytes(path), path.name, encoding)


def read_member(path: str | Path, member: str) -> list[Line]:
    """The lines of one file in a zip archive; see `read_lines`.

    Raises:
        DataError: as `read_lines`; also if the archive is damaged or does not contain the file.
    """
    path = Path(path)
    return lines_of(unzipped(path, member), f"{path.name}/{member}")


def unzipped(path: Path, member: str) -> bytes:
    """The content of one file in a zip archive. Nothing is written to disk, so paths in the archive are harmless.

    Raises:
        DataError: the archive is damaged or does not contain the file, or the file is too large.
    """
    try:
        note_file(path)
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return _bounded(file.read, f"{path.name}/{member}", packed=path.stat().st_size)
    except KeyError:
        raise DataError(f"{path} must hold the file {member}, but it does not; fetch it again") from None
    except DataError:
        raise
    except _DAMAGED_ZIP as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path} must be a zip archive, but it cannot be read ({reason}); fetch it again") from None


_DAMAGED_ZIP = (
    OSError,  # of bzip2 too
    EOFError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    MemoryError,  # damaged LZMA may ask for any amount
    RuntimeError,  # encrypted, or an unsupported compression
)


def lines_of(content: bytes, name: str, encoding: Encoding = "utf-8") -> list[Line]:
    """The lines of a file's or stream's content, which messages call ``name``; see `read_lines`."""
    if encoding == "utf-8":
        content = content.removeprefix(codecs.BOM_UTF8)
    lines = _plain(content, name, encoding).rstrip("\n").split("\n")
    if lines == [""]:
        raise DataError(f"{name} must hold at least one line, but it is empty")
    return [(line, f"{name} line {number}") for number, line in enumerate(lines, start=1)]


def each_line(content: bytes, name: str) -> Iterator[tuple[str | DataError, str]]:
    """Every line of UTF-8 text with its place, including trailing empty lines; for an unreadable line its error.

    For inputs where one bad line must not affect the others; otherwise as `lines_of`.

    Raises:
        DataError: the text is empty.
    """
    if not content:
        raise DataError(f"{name} must hold at least one line, but it is empty")
    lines = content.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        where = f"{name} line {number}"
        try:
            yield _plain(line.removesuffix(b"\r"), name, first=number), where
        except DataError as error:
            yield error, where


_REFUSED = (
    ("\0", "a NUL character", "save it as a UTF-8 text file"),
    ("\r", "a carriage return that ends no line", "end lines with LF or CRLF"),
    ("\n\ufeff", "a byte-order mark, as where files were joined", "remove it"),
)


def _plain(content: bytes, name: str, encoding: Encoding = "utf-8", *, first: int = 1) -> str:
    """Decode content whose first line has the number ``first``; lines end at LF."""
    text = _decoded(content, name, encoding, first)
    preceded = f"\n{text}"  # so that the first line begins like any other
    for characters, kind, advice in _REFUSED:
        if characters in preceded:
            line = preceded.count("\n", 0, preceded.index(characters) + 1) + first - 1
            raise DataError(f"{name} line {line} must be plain text, but it holds {kind}; {advice}")
    return text


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends in ``.gz``.

    Raises:
        DataError: it cannot be read or unpacked, or is too large.
    """
    expected = f"{path} must be a text file that can be read"
    try:
        note_file(path)
        with path.open("rb") as file:
            return unpacked(file, path) if path.suffix == ".gz" else _bounded(file.read, str(path))
    except DataError:
        raise
    except IsADirectoryError:
        raise DataError(f"{expected}, but it is a folder; name a file in it") from None
    except FileNotFoundError:
        raise DataError(f"{expected}, but there is no such file; check the path") from None
    except PermissionError:
        raise DataError(f"{expected}, but permission is denied; change its access rights") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f"{expected}, but {error}; check the path") from None


def read_stream(read: Callable[[int], bytes], name: str) -> bytes:
    """All bytes of a stream, such as standard input, by its ``read``.

    Raises:
        DataError: it is larger than `LARGEST`.
    """
    return _bounded(read, name)


def unpacked(file: BinaryIO, path: Path, largest: int | None = None) -> bytes:
    """All bytes of an open gzip file.

    Args:
        file: at its beginning.
        path: its place, for messages and for its size.
        largest: maximum number of unpacked bytes, `LARGEST` by default; `PACKED_RATIO` holds besides.

    Raises:
        DataError: it is something else, or larger.
    """
    try:
        return _bounded(gzip.GzipFile(fileobj=file).read, str(path), packed=path.stat().st_size, largest=largest)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} must be a gzip file, but it cannot be unpacked ({error}); fetch it again") from None


_PIECE = 4096  # zipfile unpacks bzip2 and LZMA in amounts that depend on the size asked for


def _bounded(
    read: Callable[[int], bytes], name: str, *, packed: int | None = None, largest: int | None = None
) -> bytes:
    """All bytes of ``read``; at most one piece beyond the limit is ever unpacked."""
    largest = LARGEST if largest is None else largest
    most = largest if packed is None else min(largest, max(PACKED_LEAST, PACKED_RATIO * packed))
    pieces, size = [], 0
    while piece := read(2**20 if packed is None else _PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise DataError(_too_large(name, most))
    return b"".join(pieces)


def _too_large(name: str, most: int) -> str:
    if most == LARGEST:
        return f"{name} must have at most {LARGEST:,} bytes, but it is larger; take a part of it"
    return (
        f"{name} must unpack to at most {most:,} bytes, since text is seldom packed to a hundredth, but it is larger; "
        "check what is in it, and unpack it first if that is right"
    )


def _decoded(content: bytes, name: str, encoding: Encoding, first: int) -> str:
    try:
        return content.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + first
        byte = error.start - content.rfind(b"\n", 0, error.start)
        if content.startswith(GZIP):
            raise DataError(f"{name} must be text, but it is compressed by gzip; call it {name}.gz") from None
        raise DataError(
            f"{name} line {line} must be {encoding.upper()}, but byte {byte} of the line is "
            f"0x{content[error.start]:02x} ({error.reason}); save the file as UTF-8"
        ) from None
