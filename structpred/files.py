"""Files that are there whole or not at all, whatever happens to the process that writes them."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` that takes its place when the block ends, and vanishes when the block fails.

    Args:
        path: the file to write, in a folder that exists. Readers see the old content until the new one is whole.

    Yields:
        A binary stream, so that large content need not be in memory at once.

    Raises:
        OSError: the file system refuses; the error names the file, also where the system does not, as on a full disk.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.unfinished")
    try:
        with naming(path), beside.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())  # before the rename: a power cut may otherwise leave the name with no content
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    _synchronise_folder(path.parent)


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write ``content`` to ``path`` (text as UTF-8) so that nobody ever sees half of it; returns ``path``."""
    encoded = content.encode() if isinstance(content, str) else content
    with replacing(path) as stream:
        stream.write(encoded)
    return path


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an operating system's error in the block name the file, as it does not where a disk is full."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def described(error: OSError) -> str:
    """An operating system's error as a sentence about the file that the user knows."""
    if error.filename is None:
        return error.strerror or str(error)
    path = Path(os.fsdecode(error.filename2 or error.filename))
    if path.suffix == ".unfinished":  # the name that `replacing` gave it
        path = path.with_name(path.name[1:].rsplit(".", 2)[0])
    return f"{path}: {error.strerror}"


def _synchronise_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and the rename is durable on its own terms
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
