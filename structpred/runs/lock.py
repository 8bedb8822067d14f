"""Exclusive use of a run folder, and what may be removed from one."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from structpred.errors import Busy, RunError
from structpred.runs.folder import KEPT, Folder, files_of
from structpred.training import checkpoint


@contextlib.contextmanager
def run_lock(folder: Folder) -> Iterator[None]:
    """Exclusive lock on a run folder; the OS releases it even on kill -9.

    If the block fails, the files that it wrote are removed, unless they hold a checkpoint to resume from or a failed
    batch to look at; files that were there before stay.

    Raises:
        Busy: another process holds the lock.
        RunError: the folder cannot be made or written, or something else stands in its place or in that of a file.
    """
    _make(folder)
    lock = FileLock(folder.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(folder.path) from None
    over = False
    try:
        _remove_half_written(folder)
        before = _everything(folder)
        yield
    except BaseException:
        over = not (checkpoint.all_of(folder.checkpoint) or folder.finished or folder.not_finite.exists())
        if over:
            _undo(folder, before)
        raise
    finally:
        _release(folder, lock, over=over or folder.finished)


def tidy(folder: Folder) -> None:
    """Remove what a killed process left in a finished run's folder, as far as permissions allow."""
    if not (_half_written(folder) or checkpoint.all_of(folder.checkpoint) or folder.lock.exists()):
        return
    lock = FileLock(folder.lock)
    with contextlib.suppress(OSError):  # includes Timeout: another process is training it
        lock.acquire(timeout=0)
        try:
            _remove_half_written(folder)
            if folder.finished:
                checkpoint.remove(folder.checkpoint)
        finally:
            _release(folder, lock, over=folder.finished)


def remove(folder: Folder) -> None:
    """Remove a whole run.

    Raises:
        Busy: a process is training it.
        OSError: the system refuses.
    """
    try:
        with FileLock(folder.lock, timeout=0):
            shutil.rmtree(folder.path)
    except Timeout:
        raise Busy(folder.path) from None
    except OSError:
        if folder.path.exists():  # another process may have removed it at the same time
            raise


def strangers(folder: Folder) -> list[str]:
    """Names in a run folder that no run writes."""
    ours = {path.name for path in (*files_of(folder), *checkpoint.all_of(folder.checkpoint))} | {"tensorboard"}
    names = sorted(path.name for path in folder.path.iterdir()) if folder.path.is_dir() else []
    return [name for name in names if name not in ours and not (name[0] == "." and name.endswith(".unfinished"))]


def _make(folder: Folder) -> None:
    if (folder.path.exists() or folder.path.is_symlink()) and not folder.path.is_dir():
        raise RunError(f"{folder.path} must be the folder of a run, but it is something else; move it away")
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder.path} cannot be made ({error.strerror}); name another root") from error
    if not os.access(folder.path, os.W_OK | os.X_OK):
        raise RunError(f"{folder.path} must be a folder that can be written, but it is read-only; name another root")
    for path in (*files_of(folder), *checkpoint.all_of(folder.checkpoint)):
        if path.is_dir():
            raise RunError(f"{path} must be a file of the run, but it is a folder; move it away")


def _release(folder: Folder, lock: FileLock, *, over: bool) -> None:
    """Release the lock; once the run is over, remove the lock file too, and the folder if it is empty."""
    if over:
        with contextlib.suppress(OSError):  # Windows keeps an open file
            folder.lock.unlink()
    lock.release()
    if over:
        with contextlib.suppress(OSError):  # not empty
            folder.path.rmdir()


def _half_written(folder: Folder) -> list[Path]:
    """Files that a killed process was writing."""
    return list(folder.path.glob(".*.unfinished"))


def _remove_half_written(folder: Folder) -> None:
    for path in _half_written(folder):
        path.unlink(missing_ok=True)


def _undo(folder: Folder, before: set[Path]) -> None:
    """Remove what was not there before, and the files written ahead of a first checkpoint if there is nothing else."""
    ahead = {folder.record, folder.experiment, folder.data, folder.log, folder.progress}
    ahead |= set(folder.path.glob(f"{KEPT}*"))
    useless = _everything(folder) - (before if before - ahead else set())
    for path in sorted(useless, reverse=True):  # the deepest first
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _everything(folder: Folder) -> set[Path]:
    return {*folder.path.rglob("*")} - {folder.lock}
