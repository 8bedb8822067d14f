"""Text files, line by line, with errors that name the file and the line."""

import codecs
import gzip
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

from structpred.errors import DataError

LARGEST = 256 * 2**20
"""Bytes a text file may have, unpacked: as lines and symbols in memory it takes some fifty times as much."""

Encoding = Literal["utf-8", "latin-1", "cp1252"]
"""How bytes stand for characters. In all of these a line feed is the byte 10, so that lines can be counted."""

Line = tuple[str, str]
"""What a line says, and where it stands."""


def read_lines(path: str | Path, encoding: Encoding = "utf-8") -> list[Line]:
    """The lines of a text file, each with where it stands, such as ``"fre_dev.tsv line 17"``.

    A file whose name ends in ``.gz`` is unpacked in memory, no further than `LARGEST`. A line ends at LF or CRLF and
    nowhere else (U+0085 and U+2028 are ordinary characters). A byte-order mark and empty lines at the end of the file
    are dropped; other empty lines are kept.

    Raises:
        DataError: the file cannot be read or unpacked, is larger than `LARGEST`, is not in the encoding, holds a NUL
            or a lone carriage return, or has no line.
    """
    path = Path(path)
    return lines_of(read_bytes(path), path.name, encoding)


def read_member(path: str | Path, member: str) -> list[Line]:
    """The lines of one file in a zip archive, see `read_lines`.

    Raises:
        DataError: as `read_lines`, and where the archive is damaged or holds no such file.
    """
    path = Path(path)
    return lines_of(unzipped(path, member), f"{path.name}/{member}")


def unzipped(path: Path, member: str) -> bytes:
    """The content of one file in a zip archive. Nothing is written, so no member's path is followed.

    Raises:
        DataError: the archive is damaged or holds no such file, or that is larger than `LARGEST`.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            content = file.read(LARGEST + 1)
    except KeyError:
        raise DataError(f"{path} must hold the file {member}, but it does not; fetch it again") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:  # encrypted: Runtime
        raise DataError(f"{path} must be a zip archive, but it cannot be read ({error}); fetch it again") from None
    return _small_enough(content, Path(f"{path.name}/{member}"))


def lines_of(content: bytes, name: str, encoding: Encoding = "utf-8") -> list[Line]:
    """The lines of what was read from the file, or stream, that messages call ``name``; see `read_lines`."""
    text = _decoded(content, name, encoding)
    for character, kind, advice in _REFUSED:
        if character in text:
            line = text.count("\n", 0, text.index(character)) + 1
            raise DataError(f"{name} line {line} must be plain text, but it holds {kind}; {advice}")
    lines = text.rstrip("\n").split("\n")
    if lines == [""]:
        raise DataError(f"{name} must hold at least one line, but it is empty")
    return [(line, f"{name} line {number}") for number, line in enumerate(lines, start=1)]


_REFUSED = (
    ("\0", "a NUL character", "save it as a UTF-8 text file"),
    ("\r", "a carriage return that ends no line", "end lines with LF or CRLF"),
)


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked where its name ends in ``.gz``.

    Raises:
        DataError: it cannot be read or unpacked, or is larger than `LARGEST`.
    """
    expected = f"{path} must be a text file that can be read"
    try:
        with path.open("rb") as file:
            content = _unpacked(file, path) if path.suffix == ".gz" else file.read(LARGEST + 1)
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
    return _small_enough(content, path)


def _unpacked(file: BinaryIO, path: Path) -> bytes:
    try:
        return gzip.GzipFile(fileobj=file).read(LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} must be a gzip file, but it cannot be unpacked ({error}); fetch it again") from None


def _small_enough(content: bytes, path: Path) -> bytes:
    if len(content) > LARGEST:
        raise DataError(f"{path} must have at most {LARGEST:,} bytes, but it is larger; take a part of it")
    return content


def _decoded(content: bytes, name: str, encoding: Encoding) -> str:
    if encoding == "utf-8":
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = error.start - content.rfind(b"\n", 0, error.start)
        raise DataError(
            f"{name} line {line} must be {encoding.upper()}, but byte {byte} of the line is "
            f"0x{content[error.start]:02x} ({error.reason}); save the file as UTF-8"
        ) from None
