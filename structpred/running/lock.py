"""One process at a time in a run's folder, and nothing left there that nobody needs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from structpred.errors import Busy
from structpred.runs import Folder
from structpred.training import checkpoint


@contextlib.contextmanager
def alone(folder: Folder) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when the process ends, however it ends.

    When the block fails, what it wrote is removed again unless there is something in it to go on from or to look at;
    what lay in the folder before stays.

    Raises:
        Busy: another process holds it.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(folder.path) from None
    over = False
    try:
        for half_written in _half_written(folder):
            half_written.unlink(missing_ok=True)
        before = _everything(folder)
        yield
    except BaseException:
        over = not (folder.checkpoint.exists() or folder.finished or folder.not_finite.exists())
        if over:
            _undo(folder, before)
        raise
    finally:
        _let_go(folder, lock, over=over or folder.finished)


def tidy(folder: Folder) -> None:
    """Remove what a process left in a finished run's folder when it was killed, as far as that is allowed here."""
    if not (_half_written(folder) or checkpoint.all_of(folder.checkpoint) or _lock(folder).exists()):
        return
    lock = FileLock(_lock(folder))
    with contextlib.suppress(OSError):  # a Timeout is one too: then somebody is still at it
        lock.acquire(timeout=0)
        try:
            for half_written in _half_written(folder):
                half_written.unlink(missing_ok=True)
            if folder.finished:
                checkpoint.remove(folder.checkpoint)
        finally:
            _let_go(folder, lock, over=folder.finished)


def _let_go(folder: Folder, lock: FileLock, *, over: bool) -> None:
    """Release the lock; where that is the end of it, remove its file, and the folder where nothing is in it."""
    if over:
        with contextlib.suppress(OSError):  # not on Windows, where an open file stays
            _lock(folder).unlink()
    lock.release()
    if over:
        with contextlib.suppress(OSError):  # there is something in it
            folder.path.rmdir()


def _lock(folder: Folder) -> Path:
    return folder.path / ".lock"


def _half_written(folder: Folder) -> list[Path]:
    """Files that were being written by a process that was killed."""
    return list(folder.path.glob(".*.unfinished"))


def _undo(folder: Folder, before: set[Path]) -> None:
    """Remove what was not there before, and what no attempt can use: what is written ahead of a first checkpoint."""
    ahead = {folder.record, folder.experiment, folder.data, folder.log, folder.progress}
    useless = _everything(folder) - (before if before - ahead else set())
    for path in sorted(useless, reverse=True):  # the deepest first
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _everything(folder: Folder) -> set[Path]:
    return {*folder.path.rglob("*")} - {_lock(folder)}
