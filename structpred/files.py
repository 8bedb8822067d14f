"""Paths checked before they are written, and files written whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from structpred.errors import ConfigError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` that replaces it when the block ends and is removed if the block fails.

    What a link leads to is replaced, not the link. A device or a pipe, such as ``/dev/null``, is written as it is.

    Args:
        path: the file to write, in a folder that exists. Readers see the old content until the new one is whole.

    Yields:
        A binary stream, so that large content need not be in memory at once.

    Raises:
        OSError: the file system refuses; the error names the file even if the OS does not, as on a full disk.
    """
    path = path.resolve()
    if _is_special(path):
        with naming(path), path.open("wb") as stream:
            yield stream
        return
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
    """Write ``content`` to ``path`` (text as UTF-8) so that no reader ever sees half of it; returns ``path``."""
    encoded = content.encode() if isinstance(content, str) else content
    with replacing(path) as stream:
        stream.write(encoded)
    return path


RUN_FILES = ("experiment.json", "record.json")
"""Files that every run folder has from its beginning; see `structpred.runs.folder.Folder`."""


def folder_to_write(path: Path, *, of_runs: bool = False) -> None:
    """Refuse a path that cannot become a folder with new files, before hours of training.

    Args:
        path: the folder.
        of_runs: it may be there and read-only, because it may hold finished runs, which are only read.

    Raises:
        ConfigError: it or one of its parents is a file, the folder cannot be made or written, or it is inside a run's.
    """
    if not of_runs:
        _refuse_inside_a_run(path)
    above = next((each for each in (path, *path.parents) if each.exists()), None)
    if above is not None and not above.is_dir():
        raise ConfigError(f"{path} must be a folder, but {above} is a file; name another place")
    if above is None or os.access(above, os.W_OK | os.X_OK) or (of_runs and above == path):
        return
    expected, what = ("can be written", "it") if above == path else ("can be made", str(above))
    raise ConfigError(f"{path} must be a folder that {expected}, but {what} is read-only; name another place")


def root_of_runs(root: object) -> Path:
    """The folder of run folders, as a path.

    Raises:
        ConfigError: it is neither text nor a path, or cannot become a folder.
    """
    if not isinstance(root, str | os.PathLike):
        raise ConfigError(f"root must be the folder of run folders, text or a Path, but got {root!r:.80}")
    folder_to_write(Path(root), of_runs=True)
    return Path(root)


def file_to_write(path: Path) -> None:
    """Refuse a path that cannot become a file.

    Raises:
        ConfigError: it is a folder, its parent does not exist or cannot be written, or it is inside a run's folder.
    """
    _refuse_inside_a_run(path)
    if path.is_dir():
        raise ConfigError(f"{path} must be a file, but it is a folder; name a file in it")
    folder = path.resolve().parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise ConfigError(f"{path} must stand in a folder, but there is no {folder}; make it first")
    special = _is_special(path)
    if not (os.access(path, os.W_OK) if special else os.access(folder, os.W_OK | os.X_OK)):
        what = path if special else folder
        raise ConfigError(f"{path} must be a file that can be written, but {what} is read-only; name another")


def _is_special(path: Path) -> bool:
    """Whether a special file is there, which is written but never replaced: a device, a pipe or a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _refuse_inside_a_run(path: Path) -> None:
    """What a user writes there would be removed with the run, or be taken for one of its files."""
    place = path.resolve()
    for home in (place, *place.parents):
        if all((home / name).is_file() for name in RUN_FILES):
            raise ConfigError(f"{path} must be outside the folders of runs, but {home} is one; name another place")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an OSError of the block; the OS does not when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def os_error_message(error: OSError) -> str:
    """An OSError as a message about the file that the user knows."""
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
