"""A journal file of Optuna's that is recognised before anything is written to it, and never left with half a record."""

import json
import os
from collections.abc import Generator
from io import FileIO
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from structpred.errors import ConfigError, RunError
from structpred.files import described

_SQLITE = b"SQLite format 3\0"
_BEGINNING = b'{"op_code":0,"worker_id":"'
_LONGEST = 2**20
"""Bytes of a first record; a longer first line is no journal's."""


def open_journal(path: Path) -> JournalStorage:
    """Open a journal file, or begin one; an existing file is only read.

    Raises:
        ConfigError: there is something else in its place, such as a folder, a database or a text.
        RunError: it cannot be read or made, or is damaged.
    """
    try:
        _refuse_what_is_no_journal(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        backend = MendingBackend(path)
    except OSError as error:
        raise RunError(f"{path} cannot be used as a journal file: {described(error)}") from error
    try:
        return JournalStorage(backend)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {described(error)}") from error
    except (
        StorageInternalError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        AssertionError,
        RecursionError,
    ) as error:
        raise RunError(
            f"{path} is a journal of studies, but {_damage(path)}; restore a copy of it, or name another file"
        ) from error


def _refuse_what_is_no_journal(path: Path) -> None:
    """Let an empty file pass, and one whose first record begins a study; a first record may have been cut."""
    if path.is_dir():
        raise ConfigError(f"{path} must be a journal file, but it is a folder; name a file in it")
    if not path.exists():
        return
    if not path.is_file():
        raise ConfigError(f"{path} must be a journal file, but it is no regular file; name another one")
    with path.open("rb") as stream:
        first = stream.readline(_LONGEST)
    if first.startswith(_SQLITE):
        raise ConfigError(
            f"{path} is an SQLite database, but a path without a prefix names a journal file; write "
            f"sqlite:///{path.as_posix()}"
        )
    if first and not (_begins_a_study(first) if first.endswith(b"\n") else first.startswith(_BEGINNING)):
        raise ConfigError(
            f"{path} holds something else than a journal of studies, and is left as it is; name another file, or a "
            "database by its URL"
        )


def _begins_a_study(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(record, dict)
        and record.get("op_code") == 0
        and all(isinstance(record.get(name), str) for name in ("worker_id", "study_name"))
    )


def _damage(path: Path) -> str:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not _is_record(line):
                return f"its line {number} is damaged"
    return "its records contradict one another"


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line)["op_code"], int)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


class MendingBackend(JournalFileBackend):
    """A journal file to which records are added whole or not at all.

    Optuna's own would write behind half a record that a machine left when it went down or its disk was full, and
    nobody could read the file any more. Here such a rest is cut off first: no reader has ever taken it for a record.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._symlink = JournalFileSymlinkLock(str(path))
        super().__init__(str(path), lock_obj=self._symlink)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """The records from a number on.

        Raises:
            StorageInternalError: one of them is damaged.
        """
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise StorageInternalError(f"{self._path}: {error}") from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add records, and wait until they are on the disk.

        Raises:
            OSError: they could not be written; the file is as it was.
        """
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._symlink.acquire()
        try:
            _append(self._path, text.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error  # a full disk names no file
        finally:
            self._symlink.release()


def _append(path: Path, content: bytes) -> None:
    with path.open("rb+", buffering=0) as stream:
        before = _end_of_records(stream)
        stream.truncate(before)
        stream.seek(before)
        try:
            while content:  # a write without a buffer may take a part only
                content = content[stream.write(content) or 0 :]
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(before)
            raise


def _end_of_records(stream: FileIO) -> int:
    """Where the last whole line ends."""
    size = stream.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    stream.seek(-1, os.SEEK_END)
    if stream.read() == b"\n":
        return size
    stream.seek(0)
    return stream.readall().rfind(b"\n") + 1
